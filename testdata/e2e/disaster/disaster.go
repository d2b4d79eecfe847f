// Package disaster deletes namespaces without the waits that Kubernetes makes.
package disaster

import (
	"context"

	"github.com/kubectl-velero/kubectl-velero/testdata/e2e/console"
)

// DeleteNamespace removes a namespace that may not be there, and waits until it is gone.
//
// The namespace controller comes by five seconds after the deletion and every five
// seconds from then on. It takes pods first and waits for their end, then the rest,
// and claims go when no pod uses them: three times five seconds. Here pods and claims
// go before it comes. That is after the deletion, which keeps their controllers from
// making new ones.
func DeleteNamespace(ctx context.Context, c *console.Console, name string) error {
	for _, command := range [][]string{
		{"delete", "namespace", name, "--ignore-not-found", "--wait=false"},
		{"-n", name, "delete", "pods,persistentvolumeclaims", "--all", "--now", "--wait=false"},
		{"wait", "namespace/" + name, "--for=delete", "--timeout=240s"},
	} {
		if err := c.Run(ctx, append([]string{"kubectl"}, command...)...); err != nil {
			return err
		}
	}
	return nil
}
