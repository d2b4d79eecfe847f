package ebs_test

import (
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot"
	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot/ebs"
	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot/ebs/ec2test"
	"github.com/kubectl-velero/kubectl-velero/pkg/store"
)

// documentedActions are those of the policy in the documentation.
func documentedActions(t *testing.T) []string {
	t.Helper()
	page, err := os.ReadFile("../../../docs/snapshots-aws.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "## Least rights")
	_, rest, _ = strings.Cut(rest, "```json\n")
	text, _, _ := strings.Cut(rest, "```")
	var policy struct{ Statement []struct{ Action []string } }
	if err := json.Unmarshal([]byte(text), &policy); err != nil {
		t.Fatalf("the policy in the documentation: %v", err)
	}
	var actions []string
	for _, s := range policy.Statement {
		actions = append(actions, s.Action...)
	}
	return actions
}

// TestLeastRights makes every call with exactly the documented rights, and again
// without each of them.
func TestLeastRights(t *testing.T) {
	t.Parallel()
	missing := map[string][]string{
		"ec2:DescribeVolumes":           {"disk", "create", "create volume"},
		"ec2:DescribeSnapshots":         {"state", "find", "create volume"},
		"ec2:CreateSnapshot":            {"create"},
		"ec2:CreateVolume":              {"create volume"},
		"ec2:CreateTags":                {"create", "create volume"},
		"ec2:DeleteSnapshot":            {"delete"},
		"ec2:DescribeAvailabilityZones": nil, // this only tells more
	}
	actions := documentedActions(t)
	if len(actions) != len(missing) {
		t.Errorf("documented actions are %q", actions)
	}
	for _, without := range append([]string{""}, actions...) {
		t.Run("without "+without, func(t *testing.T) {
			t.Parallel()
			server := ec2test.Start(t)
			server.Allow(slices.DeleteFunc(slices.Clone(actions), func(a string) bool { return a == without })...)
			for call, err := range calls(t, server) {
				if denied := slices.Contains(missing[without], call); !denied && err != nil {
					t.Errorf("%s: %v", call, err)
				} else if denied && (!errors.Is(err, store.ErrDenied) || !strings.Contains(err.Error(), "hint: allow "+without+";") || strings.Contains(err.Error(), "ncoded")) {
					t.Errorf("%s: %v", call, err)
				}
			}
		})
	}
}

// calls makes every call, and gives the errors.
func calls(t *testing.T, server *ec2test.Server) map[string]error {
	t.Helper()
	s := ebs.OpenFast(t, server.Config(t))
	disk := server.AddDisk(ec2test.Disk{})
	there := server.AddSnapshot(ec2test.Snapshot{Tags: map[string]string{"team": "shop"}})
	errs := map[string]error{}
	_, errs["disk"] = s.Disk(t.Context(), disk, "")
	_, errs["create"] = s.Create(t.Context(), cutRequest(disk))
	_, errs["state"] = s.State(t.Context(), there)
	_, errs["find"] = s.Find(t.Context(), owner)
	_, errs["create volume"] = s.CreateVolume(t.Context(), snapshot.VolumeRequest{SnapshotID: there, Zone: "eu-central-1a", Type: "gp3"})
	errs["delete"] = s.Delete(t.Context(), there)
	return errs
}
