package main

import (
	"archive/tar"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
)

var namespaceResource = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}

// mixResources are the kinds of the mix.
var mixResources = []schema.GroupVersionResource{
	{Version: "v1", Resource: "configmaps"},
	{Version: "v1", Resource: "secrets"},
	{Version: "v1", Resource: "services"},
	{Group: "apps", Version: "v1", Resource: "deployments"},
	{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "rolebindings"},
	{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "roles"},
}

// restoredResources are the kinds that a restore of the mix creates, in an order
// that works.
var restoredResources = append([]schema.GroupVersionResource{namespaceResource}, mixResources...)

// sums are objects and what they hold.
type sums map[object]uint64

// seed makes the sums of one run comparable.
var seed = maphash.MakeSeed()

// renew takes out what belongs to one life of an object.
func renew(u *unstructured.Unstructured) {
	for _, field := range []string{
		"uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "selfLink", "ownerReferences",
	} {
		unstructured.RemoveNestedField(u.Object, "metadata", field)
	}
	delete(u.Object, "status")
}

// sum is what an object holds, without what a restore adds, and who has applied
// it.
func sum(u *unstructured.Unstructured) (uint64, error) {
	applied := appliers(u.GetManagedFields())
	renew(u)
	labels := u.GetLabels()
	delete(labels, velerov1.BackupNameLabel)
	delete(labels, velerov1.RestoreNameLabel)
	u.SetLabels(labels)
	body, err := json.Marshal([]any{u.Object, applied}) // keys are sorted
	return maphash.Bytes(seed, body), err
}

// appliers are the managers that own fields by server-side apply.
func appliers(entries []metav1.ManagedFieldsEntry) []string {
	var names []string
	for _, entry := range entries {
		if entry.Operation == metav1.ManagedFieldsOperationApply {
			names = append(names, entry.Manager)
		}
	}
	slices.Sort(names)
	return names
}

// live are the objects of the data set in the cluster. With the name of a
// restore, those in namespaces must have its label.
func (b *restoreBench) live(ctx context.Context, restore string) (sums, error) {
	found := sums{}
	for _, resource := range restoredResources {
		for options := (metav1.ListOptions{Limit: floorPage}); ; {
			page, err := b.dynamic.Resource(resource).List(ctx, options)
			if err != nil {
				return nil, fmt.Errorf("list %s: %w", resource.Resource, err)
			}
			for i := range page.Items {
				if err := found.add(resource, &page.Items[i], restore); err != nil {
					return nil, err
				}
			}
			if options.Continue = page.GetContinue(); options.Continue == "" {
				break
			}
		}
	}
	return found, nil
}

func (s sums) add(resource schema.GroupVersionResource, u *unstructured.Unstructured, restore string) error {
	o := object{resource.GroupResource().String(), u.GetNamespace(), u.GetName()}
	if !strings.HasPrefix(cmp.Or(o.namespace, o.name), namespacePrefix) {
		return nil
	}
	if label := u.GetLabels()[velerov1.RestoreNameLabel]; restore != "" && o.namespace != "" && label != restore {
		return fmt.Errorf("%s: its restore is %q, not %q", o, label, restore)
	}
	var err error
	s[o], err = sum(u)
	return err
}

// compare says how the cluster differs from what it has to hold.
func (s sums) compare(live sums) error {
	var problems []string
	for o, want := range s {
		switch have, found := live[o]; {
		case !found:
			problems = append(problems, o.String()+" is missing")
		case have != want:
			problems = append(problems, o.String()+" is another")
		}
	}
	for o := range live {
		if _, wanted := s[o]; !wanted {
			problems = append(problems, o.String()+" is too much")
		}
	}
	if len(problems) == 0 {
		return nil
	}
	const told = 5
	slices.Sort(problems)
	return fmt.Errorf("%d of %d objects are wrong: %s", len(problems), len(s), strings.Join(problems[:min(told, len(problems))], ", "))
}

// counts are the objects by kind.
func (s sums) counts() string {
	counts := map[string]int{}
	for o := range s {
		counts[o.resource]++
	}
	var parts []string
	for _, resource := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%s %s", thousands(counts[resource]), resource))
	}
	return strings.Join(parts, ", ")
}

// eachArchived reads an archive with the standard library, not with the code
// that restores, and calls visit for each object once.
func (b *bed) eachArchived(ctx context.Context, backup string, visit func(o object, body []byte) error) error {
	packed, err := b.bucket.Get(ctx, backupFolder(backup)+backup+".tar.gz")
	if err != nil {
		return err
	}
	defer packed.Close()
	plain, err := gzip.NewReader(packed)
	if err != nil {
		return err
	}
	for files := tar.NewReader(plain); ; {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		parts := objectPath.FindStringSubmatch(header.Name)
		if parts == nil || strings.Contains(header.Name, preferredFolder) {
			continue
		}
		body, err := io.ReadAll(files)
		if err != nil {
			return err
		}
		if err := visit(object{resource: parts[1], namespace: parts[2], name: parts[3]}, body); err != nil {
			return fmt.Errorf("%s: %w", header.Name, err)
		}
	}
}

// preferredFolder is in the path at which an object stands once more.
const preferredFolder = "-preferredversion/"
