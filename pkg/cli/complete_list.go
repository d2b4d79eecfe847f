package cli

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-velero/kubectl-velero/pkg/cluster"
)

// completeListFlag completes the last entry of a comma separated list; entries
// that stand before it are not proposed again.
func (f *Factory) completeListFlag(cmd *cobra.Command, name string, list candidates) {
	complete := f.completion(list)
	_ = cmd.RegisterFlagCompletionFunc(name, func(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		all, directive := complete(cmd, args, typed)
		return continueList(typed, all), directive
	})
}

// continueList puts what was typed before the last comma in front of each name.
func continueList(typed string, all []string) []string {
	comma := strings.LastIndex(typed, ",")
	if comma < 0 {
		return all
	}
	before := strings.Split(typed[:comma], ",")
	var out []string
	for _, name := range all {
		if !slices.Contains(before, name) {
			out = append(out, typed[:comma+1]+name)
		}
	}
	return out
}

// scope is where the objects of a kind live.
type scope string

const (
	anyScope       scope = "any"
	clusterScope   scope = "cluster"
	namespaceScope scope = "namespace"
)

func (s scope) has(r cluster.Resource) bool {
	return s == anyScope || r.Namespaced == (s == namespaceScope)
}

// completeResources proposes the kinds of a scope that can be backed up.
func completeResources(where scope) candidates {
	return func(_ context.Context, s *session) []string {
		resources, err := cluster.Discover(s.kube.Discovery())
		if err != nil {
			return nil
		}
		var all []string
		for _, r := range resources.All() {
			if where.has(r) && r.Can("list", "create", "get", "delete") {
				all = append(all, r.GroupResource().String())
			}
		}
		slices.Sort(all)
		return all
	}
}

// completeConfigMaps proposes those of Velero's namespace.
func completeConfigMaps(ctx context.Context, s *session) []string {
	list, err := s.kube.CoreV1().ConfigMaps(s.namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil
	}
	return names(list.Items, func(i int) string { return list.Items[i].Name })
}
