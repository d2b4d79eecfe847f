package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kubectl-velero/kubectl-velero/pkg/install"
)

// uninstallTimeout is how long to wait for the cluster to delete everything; pods
// alone may take two minutes to end.
const uninstallTimeout = 5 * time.Minute

type uninstallOptions struct {
	f           *Factory
	force, wait bool
	volumes     bool // are deleted too
}

func newUninstallCommand(f *Factory) *cobra.Command {
	o := uninstallOptions{f: f}
	cmd := &cobra.Command{
		Use:   "uninstall",
		Short: "Delete an installation from the cluster",
		Long: "Delete an installation from the cluster: its rights, its namespace with everything in it, and the kinds of velero.io " +
			"unless another namespace uses them. What is in buckets stays, and so do volumes that hold backups unless --delete-volumes is given.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context()) },
	}
	cmd.Flags().BoolVar(&o.force, "force", false, "Don't ask.")
	cmd.Flags().BoolVar(&o.volumes, "delete-volumes", false, "Delete the volumes that hold backups, and the backups with them.")
	cmd.Flags().BoolVar(&o.wait, "wait", true, "Wait until everything is gone.")
	return cmd
}

func (o *uninstallOptions) run(ctx context.Context) error {
	if !o.force && !isTerminal(o.f.In) {
		return errors.New("uninstall asks before it deletes, and there is no terminal to ask on; hint: --force")
	}
	namespace := o.f.Namespace()
	cluster, err := installCluster(o.f)
	if err != nil {
		return err
	}
	removal, err := install.Plan(ctx, cluster, namespace)
	if err != nil {
		return o.f.explain("uninstall", err)
	}
	removal.DeleteVolumes = o.volumes
	if len(removal.Objects()) == 0 {
		fmt.Fprintf(o.f.ErrOut, "Nothing is installed in namespace %s.\n", namespace)
		o.tellKept(removal)
		return nil
	}
	if err := o.confirm(ctx, removal); err != nil {
		return err
	}
	err = removal.Run(ctx, cluster, func(c install.Change) { fmt.Fprintln(o.f.Out, c) })
	if err != nil {
		return o.f.explain("uninstall", err)
	}
	if o.wait {
		if err := removal.Wait(ctx, cluster, uninstallTimeout); err != nil {
			return o.f.explain("wait for the deletion", err)
		}
	}
	o.tellKept(removal)
	o.tellVolumes(removal)
	return nil
}

// confirm shows what goes and asks, unless told not to.
func (o *uninstallOptions) confirm(ctx context.Context, removal *install.Removal) error {
	if o.force {
		return nil
	}
	fmt.Fprintln(o.f.ErrOut, "This deletes:")
	for _, object := range removal.Objects() {
		fmt.Fprintf(o.f.ErrOut, "  %s\n", install.Name(object))
	}
	fmt.Fprintln(o.f.ErrOut, "and everything in the namespace. What is in buckets stays.")
	for _, claim := range removal.Claims {
		fmt.Fprintln(o.f.ErrOut, whatOfClaim(claim, removal.DeleteVolumes))
	}
	if len(removal.Running) > 0 {
		o.f.warn("still running, and to be cut off: %s", strings.Join(removal.Running, ", "))
	}
	fmt.Fprint(o.f.ErrOut, "Continue? [y/N] ")
	answer, err := readLine(ctx, o.f.In)
	if err != nil {
		return err
	}
	if answer := strings.ToLower(strings.TrimSpace(answer)); answer != "y" && answer != "yes" {
		return errors.New("uninstall was not confirmed; nothing was changed")
	}
	return nil
}

// readLine reads one line; a cancelled ctx ends it, though not the read, which goes
// on until the process ends.
func readLine(ctx context.Context, in io.Reader) (string, error) {
	lines := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(in).ReadString('\n') // the end of input is an empty answer
		lines <- line
	}()
	select {
	case line := <-lines:
		return line, nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// whatOfClaim says what becomes of backups that a claim of the namespace holds.
func whatOfClaim(claim install.HeldClaim, deleted bool) string {
	held := fmt.Sprintf("PersistentVolumeClaim %q holds the backups of location %q (%d known)", claim.Name, claim.Location, claim.Backups)
	switch {
	case claim.Volume == "":
		return held + " and has no volume: there is nothing in it."
	case deleted:
		return fmt.Sprintf("%s: they are DELETED with its volume %q.", held, claim.Volume)
	}
	return fmt.Sprintf("%s: its volume %q stays, and they with it.", held, claim.Volume)
}

// tellVolumes says how to come back to what stayed.
func (o *uninstallOptions) tellVolumes(removal *install.Removal) {
	for _, claim := range removal.Claims {
		if claim.Volume != "" && !removal.DeleteVolumes {
			fmt.Fprintf(o.f.ErrOut, "Volume %q keeps the backups of location %q. To use it again, run `kubectl patch pv %[1]s --type=json -p '[{\"op\":\"remove\",\"path\":\"/spec/claimRef\"}]'` and create a claim with volumeName %[1]s; "+
				"to delete it, give it reclaim policy Delete.\n", claim.Volume, claim.Location)
		}
	}
}

func (o *uninstallOptions) tellKept(removal *install.Removal) {
	if len(removal.Kept) > 0 {
		fmt.Fprintf(o.f.ErrOut, "The kinds of velero.io stay: %s.\n", strings.Join(removal.Kept, "; "))
	}
}
