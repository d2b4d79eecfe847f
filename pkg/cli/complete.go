package cli

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-velero/kubectl-velero/pkg/cli/flag"
)

// candidates lists names that can complete a word. What can't be listed
// completes nothing: completion has nowhere to show an error.
type candidates func(ctx context.Context, s *session) []string

// completionPatience bounds how long the shell waits for names.
const completionPatience = 3 * time.Second

func (f *Factory) completeFlag(cmd *cobra.Command, name string, list candidates) {
	// It fails only for a flag that the command doesn't have.
	_ = cmd.RegisterFlagCompletionFunc(name, f.completion(list))
}

// completeChoice proposes the words of a flag.
func completeChoice(cmd *cobra.Command, name string, words flag.Choice) {
	_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(words.Words(), cobra.ShellCompDirectiveNoFileComp))
}

func (f *Factory) completeArgs(cmd *cobra.Command, list candidates) {
	cmd.ValidArgsFunction = f.completion(list)
}

func (f *Factory) completion(list candidates) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		s, err := f.connect()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), completionPatience)
		defer cancel()
		return list(ctx, s), cobra.ShellCompDirectiveNoFileComp
	}
}

func completeBackups(ctx context.Context, s *session) []string {
	list, err := s.velero.Backups(s.namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil
	}
	return names(list.Items, func(i int) string { return list.Items[i].Name })
}

func completeRestores(ctx context.Context, s *session) []string {
	list, err := s.velero.Restores(s.namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil
	}
	return names(list.Items, func(i int) string { return list.Items[i].Name })
}

func completeSchedules(ctx context.Context, s *session) []string {
	list, err := s.velero.Schedules(s.namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil
	}
	return names(list.Items, func(i int) string { return list.Items[i].Name })
}

func completeLocations(ctx context.Context, s *session) []string {
	list, err := s.velero.BackupStorageLocations(s.namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil
	}
	return names(list.Items, func(i int) string { return list.Items[i].Name })
}

func completeNamespaces(ctx context.Context, s *session) []string {
	list, err := s.kube.CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil
	}
	return names(list.Items, func(i int) string { return list.Items[i].Name })
}

// completeClusterRoles proposes those that aren't for Kubernetes itself.
func completeClusterRoles(ctx context.Context, s *session) []string {
	list, err := s.kube.RbacV1().ClusterRoles().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil
	}
	all := names(list.Items, func(i int) string { return list.Items[i].Name })
	return slices.DeleteFunc(all, func(name string) bool { return strings.HasPrefix(name, "system:") })
}

func names[T any](items []T, name func(int) string) []string {
	all := make([]string, len(items))
	for i := range items {
		all[i] = name(i)
	}
	return all
}
