package cli

import (
	"fmt"

	"github.com/spf13/cobra"
)

// oneName asks for exactly one name.
func oneName(noun string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch len(args) {
		case 1:
			return nil
		case 0:
			return fmt.Errorf("the name of the %s is missing; hint: %s", noun, cmd.UseLine())
		}
		return fmt.Errorf("%s takes one name, not %d; hint: %s", cmd.CommandPath(), len(args), cmd.UseLine())
	}
}

// atMostOneName asks for one name or none.
func atMostOneName(cmd *cobra.Command, args []string) error {
	if len(args) > 1 {
		return fmt.Errorf("%s takes one name, not %d; hint: %s", cmd.CommandPath(), len(args), cmd.UseLine())
	}
	return nil
}
