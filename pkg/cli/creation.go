package cli

import (
	"fmt"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/runtime"
)

// creation is how every create command ends: by printing the objects, by only
// saying what would be created or what would come of it, or by creating it.
type creation struct {
	dryRun dryRun
	output *output
	name   string
}

func newCreation() creation { return creation{output: newOutput("created")} }

func (c *creation) add(cmd *cobra.Command) {
	c.dryRun.add(cmd.Flags())
	c.addOutput(cmd)
}

// addWithPreview is add for a command that has steps.preview.
func (c *creation) addWithPreview(cmd *cobra.Command) {
	c.dryRun.addWithServer(cmd.Flags())
	c.addOutput(cmd)
	cmd.Flags().Lookup("output").Usage += " With --dry-run=server: how the result is printed, one of table, wide, json and yaml."
}

func (c *creation) addOutput(cmd *cobra.Command) {
	completeChoice(cmd, "dry-run", c.dryRun.Choice)
	c.output.add(cmd, false)
}

// check finds what is wrong with the flags and with the name for a noun.
func (c *creation) check(noun string) error {
	if err := checkName(noun, c.name); err != nil {
		return err
	}
	return c.output.check()
}

// steps are the ends that a command has an own way to.
type steps struct {
	// objects makes what would be created, to be printed.
	objects func() ([]runtime.Object, error)
	// create creates it, and follows it if asked to.
	create func(*session) error
	// preview asks the cluster what would come of it, and creates nothing that
	// stays; nil where --dry-run has no server.
	preview func(*session) error
}

// finish does what the flags ask for with an object of the noun. Without need it
// asks no cluster.
func (c *creation) finish(f *Factory, noun string, do steps) error {
	switch {
	case c.dryRun.Value == dryRunServer:
		return f.withSession(do.preview)
	case c.output.chosen():
		objects, err := do.objects()
		if err != nil {
			return err
		}
		return c.output.print(f.Out, objects...)
	case c.dryRun.Value == dryRunClient:
		fmt.Fprintf(f.Out, "%s.velero.io/%s created (dry run)\n", noun, c.name)
		return nil
	}
	return f.withSession(do.create)
}

func (f *Factory) withSession(do func(*session) error) error {
	s, err := f.connect()
	if err != nil {
		return err
	}
	return do(s)
}
