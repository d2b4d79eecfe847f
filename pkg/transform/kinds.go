package transform

import (
	"k8s.io/apimachinery/pkg/runtime/schema"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
)

// step looks at an object of the kind it is for and changes it.
type step func(o *Options, obj *Object) (Decision, error)

// kind is what is special about the objects of a kind; each part may be nil.
type kind struct {
	// decide says of an object of the archive whether it comes back.
	decide step
	// change takes out what doesn't belong to another life of the object. It is
	// done to live objects as well, to compare; its decision doesn't skip.
	change step
	// references are where it names namespaces.
	references []reference
}

// The groups whose kinds need care.
const (
	admission        = "admissionregistration.k8s.io"
	apiExtensions    = "apiextensions.k8s.io"
	aggregation      = "apiregistration.k8s.io"
	apps             = "apps"
	batch            = "batch"
	discovery        = "discovery.k8s.io"
	flowControl      = "flowcontrol.apiserver.k8s.io"
	gateway          = "gateway.networking.k8s.io"
	groupSnapshots   = "groupsnapshot.storage.k8s.io"
	networking       = "networking.k8s.io"
	policyNetworking = "policy.networking.k8s.io"
	rbac             = "rbac.authorization.k8s.io"
	snapshots        = "snapshot.storage.k8s.io"
	storage          = "storage.k8s.io"
)

// kinds names the kinds that need care.
func kinds() map[schema.GroupResource]kind {
	all := map[schema.GroupResource]kind{
		{Group: apiExtensions, Resource: "customresourcedefinitions"}:    {change: customResourceDefinition},
		{Group: aggregation, Resource: "apiservices"}:                    {decide: apiService},
		{Group: admission, Resource: "mutatingwebhookconfigurations"}:    {change: webhookConfiguration},
		{Group: admission, Resource: "validatingwebhookconfigurations"}:  {change: webhookConfiguration},
		{Group: discovery, Resource: "endpointslices"}:                   {decide: endpointSlice},
		{Group: networking, Resource: "ipaddresses"}:                     {decide: ipAddress},
		{Group: networking, Resource: "servicecidrs"}:                    {decide: serviceCIDR},
		{Group: groupSnapshots, Resource: "volumegroupsnapshotcontents"}: {decide: groupSnapshot},
		{Group: groupSnapshots, Resource: "volumegroupsnapshots"}:        {decide: groupSnapshot},
		{Resource: "configmaps"}:                                         {decide: configMap},
		{Resource: "endpoints"}:                                          {decide: endpoints},
		{Resource: "secrets"}:                                            {decide: generatedToken, change: secret},
		{Resource: "serviceaccounts"}:                                    {change: serviceAccount},
		{Resource: "services"}:                                           {decide: apiServerService, change: service},
		{Group: velerov1.GroupName, Resource: "schedules"}:               {decide: pausedSchedule, change: schedule},
		VolumeSnapshotContents:                                           {decide: volumeSnapshotContent},
		VolumeSnapshots:                                                  {decide: volumeSnapshot},
		Claims:                                                           {decide: claimData, change: persistentVolumeClaim},
		PersistentVolumes:                                                {decide: volumeData, change: persistentVolume},
		Pods:                                                             {decide: endedPod, change: pod},
		jobs:                                                             {decide: completedJob, change: job},
	}
	for _, resource := range veleroRecords {
		all[schema.GroupResource{Group: velerov1.GroupName, Resource: resource}] = kind{decide: veleroRecord}
	}
	for resource, paths := range references() {
		k := all[resource]
		k.references = paths
		all[resource] = k
	}
	return all
}
