package cli

import (
	"fmt"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/runtime"
)

// creation is how every create command ends: by printing the objects, by only
// saying what would be created, or by creating it.
type creation struct {
	dryRun dryRun
	output *output
	name   string
}

func newCreation() creation { return creation{output: newOutput("created")} }

func (c *creation) add(cmd *cobra.Command) {
	c.dryRun.add(cmd.Flags())
	c.output.add(cmd, false)
}

// check finds what is wrong with the flags and with the name for a noun.
func (c *creation) check(noun string) error {
	if err := checkName(noun, c.name); err != nil {
		return err
	}
	return c.output.check()
}

// steps are the two ends that a command has an own way to.
type steps struct {
	// objects makes what would be created, to be printed.
	objects func() ([]runtime.Object, error)
	// create creates it, and follows it if asked to.
	create func(*session) error
}

// finish does what the flags ask for with an object of the noun. Without need it
// asks no cluster.
func (c *creation) finish(f *Factory, noun string, do steps) error {
	if c.output.chosen() {
		objects, err := do.objects()
		if err != nil {
			return err
		}
		return c.output.print(f.Out, objects...)
	}
	if c.dryRun == dryRunClient {
		fmt.Fprintf(f.Out, "%s.velero.io/%s created (dry run)\n", noun, c.name)
		return nil
	}
	s, err := f.connect()
	if err != nil {
		return err
	}
	return do.create(s)
}
