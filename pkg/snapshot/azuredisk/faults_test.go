package azuredisk

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot"
	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot/azuredisk/armtest"
	"github.com/kubectl-velero/kubectl-velero/pkg/store"
)

// refusals are answers of Azure to a request for a snapshot.
var refusals = []struct {
	name  string
	fault armtest.Fault
	want  error
	text  string
}{
	{"quota", armtest.Fault{Status: 409, Code: "OperationNotAllowed", Message: "The maximum number of snapshots for\n disk reached."}, snapshot.ErrQuota,
		"the quota is used up: OperationNotAllowed: The maximum number of snapshots for disk reached (request N); hint: " + hintQuota},
	{"quota of the group", armtest.Fault{Status: 409, Code: "ResourceQuotaExceeded", Message: "No more."}, snapshot.ErrQuota,
		"the quota is used up: ResourceQuotaExceeded: No more (request N); hint: " + hintQuota},
	{"policy", armtest.Fault{Status: 403, Code: "RequestDisallowedByPolicy", Message: "Resource 'x' was disallowed by policy."}, nil,
		`RequestDisallowedByPolicy: Resource 'x' was disallowed by policy (request N); hint: a policy of the subscription forbids this: exempt the resource group from it; if it asks for tags, set them in the config key "tags"`},
	{"rights", armtest.Fault{Status: 403, Code: "AuthorizationFailed", Message: "The client 'c' with object id 'o' does not have authorization to perform action 'Microsoft.Compute/snapshots/write' over scope 's'."}, nil,
		"AuthorizationFailed: The client 'c' with object id 'o' does not have authorization to perform action 'Microsoft.Compute/snapshots/write' over scope 's' (request N); hint: give the identity a role with Microsoft.Compute/snapshots/write on the resource group; it takes some minutes to have effect"},
	{"token", armtest.Fault{Status: 401, Code: "InvalidAuthenticationTokenTenant", Message: "Wrong issuer."}, nil,
		`InvalidAuthenticationTokenTenant: Wrong issuer (request N); hint: is the identity one of the subscription's tenant? Check AZURE_TENANT_ID in the credentials file "FILE"`},
	{"no code", armtest.Fault{Status: 400}, nil, "HTTP status 400 (request N)"},
	{"later", armtest.Fault{Async: true, Code: "InternalDiskManagementError", Message: "An internal disk management error occurred."}, nil,
		"InternalDiskManagementError: An internal disk management error occurred (request N)"},
	{"quota later", armtest.Fault{Async: true, Code: "QuotaExceeded", Message: "Full."}, snapshot.ErrQuota,
		"the quota is used up: QuotaExceeded: Full (request N); hint: " + hintQuota},
}

func TestCreateFails(t *testing.T) {
	t.Parallel()
	for _, test := range refusals {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b := start(t, nil)
			b.server.AddDisk("disk", "Premium_LRS", nil)
			test.fault.Method = http.MethodPut
			b.server.Fault(test.fault)
			_, err := b.Create(t.Context(), request("disk"))
			checkError(t, err, b.location, `create snapshot "disk-TOKEN" in resource group "MC_group_cluster_westeurope" of disk "disk" in resource group "MC_group_cluster_westeurope": `+test.text)
			if test.want != nil && !errors.Is(err, test.want) {
				t.Errorf("it isn't %q", test.want)
			}
			if left := b.server.Snapshots(); len(left) != 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func TestMisconfigured(t *testing.T) {
	t.Parallel()
	const disk = `"disk" in resource group "MC_group_cluster_westeurope"`
	for _, test := range []struct {
		name, sku string
		settings  map[string]string
		text      string
	}{
		{"group", "Premium_LRS", map[string]string{"resourceGroup": "typo"}, `create snapshot "disk-TOKEN" in resource group "typo" of disk ` + disk +
			`: ResourceGroupNotFound: Resource group 'typo' could not be found (request N); hint: correct the config key "resourceGroup" of the snapshot location (it must exist), or AZURE_RESOURCE_GROUP in the credentials file "FILE"`},
		{"subscription", "Premium_LRS", map[string]string{"subscriptionId": "typo"}, `create snapshot "disk-TOKEN" in resource group "MC_group_cluster_westeurope" of disk ` + disk +
			`: SubscriptionNotFound: The subscription 'typo' could not be found (request N); hint: correct the config key "subscriptionId" of the snapshot location, or AZURE_SUBSCRIPTION_ID in the credentials file "FILE"`},
		{"incremental elsewhere", "UltraSSD_LRS", map[string]string{"subscriptionId": armtest.OtherSubscription, "resourceGroup": armtest.OtherGroup}, `create snapshot of disk ` + disk +
			`: Azure has incremental snapshots only in the subscription of the disk; hint: leave the config key "subscriptionId" out; for disks other than Ultra and Premium SSD v2 "incremental" may be "false" instead`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b := start(t, test.settings)
			b.server.AddDisk("disk", test.sku, nil)
			_, err := b.Create(t.Context(), request("disk"))
			checkError(t, err, b.location, test.text)
		})
	}
}

func TestMissing(t *testing.T) {
	t.Parallel()
	b := start(t, nil)
	_, err := b.Disk(t.Context(), "disk", "")
	checkError(t, err, b.location, `get disk "disk" in resource group "MC_group_cluster_westeurope": it does not exist: ResourceNotFound: The Resource 'Microsoft.Compute/disks/disk' under resource group 'MC_group_cluster_westeurope' was not found. For more details please go to https://aka.ms/ARMResourceNotFoundFix (request N)`)
	for name, call := range map[string]func() error{
		"disk":   func() error { return err },
		"create": func() error { _, err := b.Create(t.Context(), request("disk")); return err },
		"state":  func() error { _, err := b.State(t.Context(), "gone"); return err },
		"restore": func() error {
			_, err := b.CreateVolume(t.Context(), snapshot.VolumeRequest{SnapshotID: "gone"})
			return err
		},
	} {
		if err := call(); !errors.Is(err, snapshot.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCreateVolumeFails(t *testing.T) {
	t.Parallel()
	const op = `create disk "restore-t" in resource group "MC_group_cluster_westeurope" from snapshot "disk-TOKEN" in resource group "MC_group_cluster_westeurope": `
	for _, test := range []struct {
		name, zone string
		fault      armtest.Fault
		want       error
		text       string
	}{
		{"zone", "westeurope-4", armtest.Fault{Method: "none"}, snapshot.ErrNoZone,
			"the zone can't be used: InvalidAvailabilityZone: The zone(s) '4' for resource 'Microsoft.Compute/disks' is not supported. The supported zones for location 'westeurope' are '1,2,3' (request N)"},
		{"kind in this zone", "westeurope-3", armtest.Fault{Status: 409, Code: "SkuNotAvailable", Message: "Not available in zone 3."}, snapshot.ErrNoZone,
			"the zone can't be used: SkuNotAvailable: Not available in zone 3 (request N)"},
		{"quota", "westeurope-1", armtest.Fault{Status: 409, Code: "OperationNotAllowed", Message: "Operation would exceed Premium Disk Count quota."}, snapshot.ErrQuota,
			"the quota is used up: OperationNotAllowed: Operation would exceed Premium Disk Count quota (request N); hint: " + hintQuota},
		{"later", "westeurope-1", armtest.Fault{Async: true, Code: "InternalDiskManagementError", Message: "Sorry."}, nil,
			"InternalDiskManagementError: Sorry (request N)"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b := start(t, nil)
			b.server.AddDisk("disk", "Premium_LRS", nil)
			id := b.create(t, "disk")
			if test.fault.Method == "" {
				test.fault.Method = http.MethodPut
			}
			b.server.Fault(test.fault)
			_, err := b.CreateVolume(t.Context(), snapshot.VolumeRequest{SnapshotID: id, Type: "Premium_LRS", Zone: test.zone, Token: "t"})
			checkError(t, err, b.location, op+test.text)
			if test.want != nil && !errors.Is(err, test.want) {
				t.Errorf("it isn't %q", test.want)
			}
			if left := b.server.Disks(); len(left) != 1 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func TestDeleteRefused(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		fault armtest.Fault
		text  string
	}{
		{"lock", armtest.Fault{Status: 409, Code: "ScopeLocked", Message: "The scope 'x' cannot perform delete operation because following scope(s) are locked: 'y'."},
			"ScopeLocked: The scope 'x' cannot perform delete operation because following scope(s) are locked: 'y' (request N); hint: take the lock away (`az lock list` shows it), and try again"},
		{"export", armtest.Fault{Status: 409, Code: "OperationNotAllowed", Message: "There is an active shared access signature outstanding."},
			"OperationNotAllowed: There is an active shared access signature outstanding (request N); hint: wait until what reads the snapshot is done, or end its export (`az snapshot revoke-access`), and try again"},
		{"later", armtest.Fault{Async: true, Code: "OperationNotAllowed", Message: "A copy reads it."},
			"OperationNotAllowed: A copy reads it (request N); hint: wait until what reads the snapshot is done, or end its export (`az snapshot revoke-access`), and try again"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b := start(t, nil)
			b.server.AddDisk("disk", "Premium_LRS", nil)
			id := b.create(t, "disk")
			test.fault.Method = http.MethodDelete
			b.server.Fault(test.fault)
			err := b.Delete(t.Context(), id)
			checkError(t, err, b.location, `delete snapshot "disk-TOKEN" in resource group "MC_group_cluster_westeurope": it is in use: `+test.text)
			if !errors.Is(err, snapshot.ErrInUse) {
				t.Error("it isn't ErrInUse")
			}
		})
	}
}

func TestThrottled(t *testing.T) {
	t.Parallel()
	b := start(t, nil)
	b.server.AddDisk("disk", "Premium_LRS", nil)
	b.server.Fault(armtest.Throttle(http.MethodPut, "/snapshots/", 2, "1"))
	b.server.Fault(armtest.Fault{Path: "/DiskOperations/", Times: 2, Status: 503, Code: "ServiceUnavailable"})
	b.server.Fault(armtest.Throttle(http.MethodGet, "/disks/", 3, ""))
	b.create(t, "disk")
	if statuses := b.statuses(http.MethodPut); !slices.Equal(statuses, []int{429, 429, 202}) {
		t.Errorf("answers %v", statuses)
	}
}

// TestThrottledForever ends with Azure's reason.
func TestThrottledForever(t *testing.T) {
	t.Parallel()
	b := start(t, nil)
	b.server.AddDisk("disk", "Premium_LRS", nil)
	b.server.Fault(armtest.Throttle(http.MethodPut, "", 0, ""))
	_, err := b.Create(t.Context(), request("disk"))
	if statuses := b.statuses(http.MethodPut); len(statuses) != 1+requestRetries {
		t.Errorf("answers %v", statuses)
	}
	if err == nil || !strings.Contains(err.Error(), "SubscriptionRequestsThrottled") || !strings.Contains(err.Error(), "hint: Azure limits how many requests") {
		t.Errorf("error %v", err)
	}
}

func (b *bed) statuses(method string) []int {
	var statuses []int
	for _, call := range b.server.Calls() {
		if call.Method == method {
			statuses = append(statuses, call.Status)
		}
	}
	return statuses
}

func TestFewRequestsAtATime(t *testing.T) {
	t.Parallel()
	b := start(t, nil)
	b.server.AddDisk("disk", "Premium_LRS", nil)
	id := b.create(t, "disk")
	var group errgroup.Group
	for range 100 {
		group.Go(func() error { _, err := b.State(t.Context(), id); return err })
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	if busiest := b.server.Busiest(); busiest > inFlight {
		t.Errorf("%d requests at a time", busiest)
	}
}

func TestNoProgress(t *testing.T) {
	t.Parallel()
	const hint = `no progress at Azure within 3s; hint: if that is usual, raise the config key "apiTimeout" of the snapshot location`
	t.Run("creating", func(t *testing.T) {
		t.Parallel()
		b := start(t, map[string]string{"apiTimeout": "3s"})
		b.server.AddDisk("disk", "Premium_LRS", nil)
		b.server.Slow(-1)
		_, err := b.Create(t.Context(), request("disk"))
		if err == nil || !strings.Contains(err.Error(), hint) || !strings.Contains(err.Error(), "it may be left behind as /subscriptions/") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("copying", func(t *testing.T) {
		t.Parallel()
		b := start(t, map[string]string{"apiTimeout": "3s"})
		b.server.AddDisk("disk", "UltraSSD_LRS", nil)
		b.server.Copying(-1)
		id := b.create(t, "disk")
		_, err := b.CreateVolume(t.Context(), snapshot.VolumeRequest{SnapshotID: id, Type: "UltraSSD_LRS", Token: "t"})
		checkError(t, err, b.location, `wait for snapshot "disk-TOKEN" in resource group "MC_group_cluster_westeurope", of which 0 % are copied: `+hint)
	})
}

// TestCancelled leaves nothing behind.
func TestCancelled(t *testing.T) {
	t.Parallel()
	b := start(t, nil)
	b.server.AddDisk("disk", "Premium_LRS", nil)
	b.server.Slow(-1)
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error)
	go func() { _, err := b.Create(ctx, request("disk")); result <- err }()
	for len(b.statuses(http.MethodPut)) == 0 {
		if t.Context().Err() != nil {
			t.Fatal("no request")
		}
		time.Sleep(time.Millisecond)
	}
	b.server.Slow(1)
	cancel()
	err := <-result
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if left := b.server.Snapshots(); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestAnswerLost breaks the connection after Azure has taken the request.
func TestAnswerLost(t *testing.T) {
	t.Parallel()
	b := start(t, nil)
	b.server.AddDisk("disk", "Premium_LRS", nil)
	b.server.Fault(armtest.Fault{Method: http.MethodPut, Times: 1, Drop: true, Async: true})
	b.create(t, "disk")
	if made := b.server.Snapshots(); len(made) != 1 {
		t.Errorf("%d snapshots", len(made))
	}
}

func TestNoToken(t *testing.T) {
	t.Parallel()
	server := armtest.Start(t)
	wrong := strings.Replace(strings.Join(armtest.Credentials(), "\n"), armtest.Secret, "geheim~2", 1)
	config := server.ConfigWith(t, nil, strings.Split(wrong, "\n"))
	s, err := open(config)
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Disk(t.Context(), "disk", "")
	checkError(t, err, config, `get disk "disk" in resource group "MC_group_cluster_westeurope": access denied: no credentials: get a token with a client secret: invalid_client: AADSTS7000215: Invalid client secret provided. Ensure the secret being sent is the value.; hint: the client secret is wrong: check the credentials secret of the location; it is the secret's value, not its id`)
	if !errors.Is(err, store.ErrDenied) || strings.Contains(err.Error(), "geheim") {
		t.Errorf("error %v", err)
	}
}

func TestUnreachable(t *testing.T) {
	t.Parallel()
	b := start(t, nil)
	b.server.AddDisk("disk", "Premium_LRS", nil)
	b.server.Fault(armtest.Fault{Method: http.MethodGet, Drop: true})
	_, err := b.Disk(t.Context(), "disk", "")
	if !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "hint: check that "+b.server.URL+" can be reached from here") {
		t.Errorf("error %v", err)
	}
}

func TestCertificateNotTrusted(t *testing.T) {
	t.Parallel()
	server := armtest.Start(t)
	config := server.Config(t, nil)
	config.CACert = nil
	s, err := open(config)
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Disk(t.Context(), "disk", "")
	if err == nil || !strings.Contains(err.Error(), "hint: something between here and Azure opens TLS") {
		t.Errorf("error %v", err)
	}
}
