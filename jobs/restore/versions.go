package restore

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/version"

	"github.com/kubectl-velero/kubectl-velero/pkg/archive"

	"github.com/kubectl-velero/kubectl-velero/jobs/run"
)

const (
	// versionsConfig is the ConfigMap in which an administrator says which
	// versions to restore, and versionsKey the key in it.
	versionsConfig = "enableapigroupversions"
	versionsKey    = "restoreResourcesVersionPriority"
)

// everyVersion is what the first pass reads: every version only when one is to
// be chosen.
func (o *operation) everyVersion() func(archive.Item) bool {
	if o.choosesVersions() {
		return func(archive.Item) bool { return true }
	}
	return o.stored
}

// choosesVersions reports whether the best common version of each kind is
// restored, and not the one that the source cluster preferred.
func (o *operation) choosesVersions() bool {
	return o.HasFeature(run.FeatureAPIGroupVersions) && o.source.backup.Status.FormatVersion != ""
}

// chooseVersions decides for each kind which of its stored versions is restored.
func (o *operation) chooseVersions(ctx context.Context) error {
	if !o.choosesVersions() {
		return nil
	}
	wishes, err := o.versionWishes(ctx)
	if err != nil {
		return err
	}
	for resource, stored := range o.contents.versions {
		chosen := chooseVersion(wishes[resource], stored, o.served.Served(resource))
		if chosen != "" && !stored[chosen] {
			o.versions[resource] = chosen
			o.Log.Info("restored in another version than the source cluster preferred", "resource", resource.String(), "version", chosen)
		}
	}
	return nil
}

// chooseVersion picks one of the versions that are stored (the value says
// whether the source cluster preferred it) among those that the cluster serves,
// its preferred one first: a wish, what the cluster prefers, what the source
// preferred, then the highest. Empty means that there is none in common.
func chooseVersion(wishes []string, stored map[string]bool, served []string) string {
	common := func(v string) bool { _, ok := stored[v]; return ok && slices.Contains(served, v) }
	for _, wish := range wishes {
		if common(wish) {
			return wish
		}
	}
	if len(served) > 0 && common(served[0]) {
		return served[0]
	}
	for v, preferred := range stored {
		if preferred && common(v) {
			return v
		}
	}
	highest := slices.MaxFunc(append(slices.Collect(maps.Keys(stored)), ""), func(a, b string) int {
		switch {
		case !common(a) && !common(b):
			return 0
		case !common(a):
			return -1
		case !common(b):
			return 1
		}
		return version.CompareKubeAwareVersionStrings(a, b)
	})
	if !common(highest) {
		return ""
	}
	return highest
}

// versionWishes reads the administrator's ConfigMap, if there is one: lines such
// as "deployments.apps=v1,v1beta1". Lines that can't be read are warnings.
func (o *operation) versionWishes(ctx context.Context) (map[schema.GroupResource][]string, error) {
	config, err := o.Kube.CoreV1().ConfigMaps(o.Namespace).Get(ctx, versionsConfig, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read ConfigMap %q: %w", versionsConfig, err)
	}
	wishes := map[schema.GroupResource][]string{}
	for line := range strings.Lines(config.Data[versionsKey]) {
		line = strings.ReplaceAll(strings.TrimSpace(line), " ", "")
		resource, versions, ok := strings.Cut(line, "=")
		switch {
		case line == "":
		case !ok || resource == "" || versions == "":
			o.warn(fmt.Sprintf("ConfigMap %q, %s: line %q is not RESOURCE.GROUP=VERSION,VERSION; it has no effect", versionsConfig, versionsKey, line))
		default:
			wishes[schema.ParseGroupResource(resource)] = strings.Split(versions, ",")
		}
	}
	return wishes, nil
}
