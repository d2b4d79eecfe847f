package run

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/launch"
	"github.com/kubectl-velero/kubectl-velero/pkg/store"

	"github.com/kubectl-velero/kubectl-velero/jobs/internal/apitest"
)

func aLocation(credential string) *velerov1.BackupStorageLocation {
	location := &velerov1.BackupStorageLocation{
		ObjectMeta: metav1.ObjectMeta{Namespace: "velero", Name: "offsite"},
		Spec: velerov1.BackupStorageLocationSpec{
			Provider:      "aws",
			Config:        map[string]string{"region": "eu-west-1"},
			ObjectStorage: &velerov1.ObjectStorageLocation{Bucket: "backups"},
		},
	}
	if credential != "" {
		location.Spec.Credential = &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: credential}, Key: "cloud"}
	}
	return location
}

func TestOnlyTheJobOfALocationOpensIt(t *testing.T) {
	for _, test := range []struct {
		name              string
		job, mounted, now string
		refused           bool
	}{
		{name: "the installation's credentials", job: "backup-1"},
		{name: "its own, mounted", job: "backup-1", mounted: "offsite-key", now: "offsite-key"},
		{name: "its own, not mounted", job: "backup-1", now: "offsite-key", refused: true},
		{name: "another's are mounted", job: "backup-1", mounted: "offsite-key", now: "other-key", refused: true},
		{name: "the mounted ones aren't its own any more", job: "backup-1", mounted: "offsite-key", refused: true},
		{name: "outside of a Job", now: "offsite-key"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv(launch.LocationMountsVariable, launch.MountsOf(aLocation(test.mounted)).Hash())
			env := &Env{JobName: test.job, Log: slog.New(slog.DiscardHandler)}
			_, err := env.openStore(Options{})(t.Context(), aLocation(test.now))
			var refusal *Refusal
			if got := errors.As(err, &refusal); got != test.refused {
				t.Fatalf("error %v, refused should be %t", err, test.refused)
			}
			if test.refused && !strings.Contains(err.Error(), "kubectl velero backup-location set offsite") {
				t.Errorf("no way out in %q", err)
			}
		})
	}
}

func TestStatusOfALocationFollowsItsUse(t *testing.T) {
	t.Parallel()
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	for _, test := range []struct {
		name    string
		ctx     context.Context
		err     error
		phase   velerov1.BackupStorageLocationPhase // empty: as before
		message string
	}{
		{name: "it worked", phase: velerov1.BackupStorageLocationPhaseAvailable},
		{name: "refused", err: fmt.Errorf("claim backup \"b\": %w", store.ErrDenied), phase: velerov1.BackupStorageLocationPhaseUnavailable, message: `claim backup "b": access denied`},
		{name: "no bucket", err: store.ErrNoBucket, phase: velerov1.BackupStorageLocationPhaseUnavailable, message: "bucket does not exist"},
		{name: "down", err: store.ErrUnavailable, phase: velerov1.BackupStorageLocationPhaseUnavailable, message: "storage is unavailable"},
		{name: "nothing to do with it", err: errors.New("the name is taken")},
		{name: "interrupted", ctx: ended, err: store.ErrUnavailable},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			server := apitest.New(t)
			velero, _, _ := server.Clients()
			location := aLocation("")
			location.Status = velerov1.BackupStorageLocationStatus{Phase: "Before", Message: "an old message"}
			locations := velero.BackupStorageLocations(location.Namespace)
			if _, err := locations.Create(t.Context(), location, metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
			ctx := test.ctx
			if ctx == nil {
				ctx = t.Context()
			}
			env := &Env{Client: velero, Log: slog.New(slog.DiscardHandler)}
			env.NoteLocation(ctx, location, test.err)
			after, err := locations.Get(t.Context(), location.Name, metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if test.phase == "" {
				if after.Status.Phase != "Before" || after.Status.LastValidationTime != nil {
					t.Errorf("status %+v, want it unchanged", after.Status)
				}
				return
			}
			if after.Status.Phase != test.phase || after.Status.Message != test.message || after.Status.LastValidationTime == nil {
				t.Errorf("status %+v, want %q, %q and a time", after.Status, test.phase, test.message)
			}
		})
	}
}

func TestALocationThatCantBeOpenedIsUnavailable(t *testing.T) {
	t.Parallel()
	server := apitest.New(t)
	velero, _, _ := server.Clients()
	location := aLocation("")
	location.Spec.Config["regoin"] = "x"
	locations := velero.BackupStorageLocations(location.Namespace)
	if _, err := locations.Create(t.Context(), location, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	env := &Env{Client: velero, Log: slog.New(slog.DiscardHandler)}
	if _, err := env.openStore(Options{})(t.Context(), location); err == nil {
		t.Fatal("opened")
	}
	after, err := locations.Get(t.Context(), location.Name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if after.Status.Phase != velerov1.BackupStorageLocationPhaseUnavailable || !strings.Contains(after.Status.Message, `unknown config key "regoin"`) {
		t.Errorf("status %+v", after.Status)
	}
}
