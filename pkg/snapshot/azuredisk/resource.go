package azuredisk

import (
	"fmt"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/arm"
)

// The kinds of resources, as they stand in their ids.
const (
	kindDisk     = "Microsoft.Compute/disks"
	kindSnapshot = "Microsoft.Compute/snapshots"
)

// place is where resources are.
type place struct{ subscription, group string }

// or is the place with what the other one says instead.
func (p place) or(other place) place {
	if other.subscription != "" {
		p.subscription = other.subscription
	}
	if other.group != "" {
		p.group = other.group
	}
	return p
}

// is compares as Azure does.
func (p place) is(other place) bool {
	return strings.EqualFold(p.subscription, other.subscription) && strings.EqualFold(p.group, other.group)
}

// check asks for both halves; source is where they should have been.
func (p place) check(source string) error {
	for name, value := range map[string]string{"AZURE_SUBSCRIPTION_ID": p.subscription, "AZURE_RESOURCE_GROUP": p.group} {
		if value == "" {
			return fmt.Errorf("the %s has no %s; hint: name the subscription and the resource group that the cluster's disks are in: `az aks show --query nodeResourceGroup` tells the group", source, name)
		}
	}
	return nil
}

// resource is a disk or a snapshot.
type resource struct {
	place
	name string
}

// parseID reads the id of a resource of this kind.
func parseID(id, kind string) (resource, error) {
	parsed, err := arm.ParseResourceID(id)
	if err != nil {
		return resource{}, fmt.Errorf("%q is not the id of a resource of Azure", id)
	}
	if !strings.EqualFold(parsed.ResourceType.String(), kind) || parsed.SubscriptionID == "" || parsed.ResourceGroupName == "" || parsed.Name == "" {
		return resource{}, fmt.Errorf("%q is not of the form /subscriptions/SUBSCRIPTION/resourceGroups/GROUP/providers/%s/NAME", id, kind)
	}
	return resource{place{parsed.SubscriptionID, parsed.ResourceGroupName}, parsed.Name}, nil
}

// id is how Azure, and what runs in the cluster, names it.
func (r resource) id(kind string) string {
	return fmt.Sprintf("/subscriptions/%s/resourceGroups/%s/providers/%s/%s", r.subscription, r.group, kind, r.name)
}
