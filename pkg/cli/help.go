package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// examples puts the name of the program into text, which has %[1]s for it.
func (f *Factory) examples(text string) string { return fmt.Sprintf(text, f.name) }

// group is a command that only holds others. An unknown word below it is an
// error that says what there is, where cobra would print help and succeed.
func group(f *Factory, cmd *cobra.Command, children ...*cobra.Command) *cobra.Command {
	cmd.AddCommand(children...)
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		return fmt.Errorf("unknown command %q for %q; hint: it has %s", args[0], cmd.CommandPath(), childNames(cmd))
	}
	return cmd
}

func childNames(cmd *cobra.Command) string {
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	return strings.Join(names, ", ")
}

// usageTemplate is cobra's without the global flags, which are the same
// everywhere and would hide the command's own.
func usageTemplate(name string) string {
	return fmt.Sprintf(`Usage:{{if .Runnable}}{{if not .HasAvailableSubCommands}}
  {{.UseLine}}{{end}}{{end}}{{if .HasAvailableSubCommands}}
  {{.CommandPath}} [command]{{end}}{{if gt (len .Aliases) 0}}

Aliases:
  {{.NameAndAliases}}{{end}}{{if .HasExample}}

Examples:
{{.Example}}{{end}}{{if .HasAvailableSubCommands}}

Commands:{{range .Commands}}{{if (or .IsAvailableCommand (eq .Name "help"))}}
  {{rpad .Name .NamePadding }} {{.Short}}{{end}}{{end}}{{end}}{{if .HasAvailableLocalFlags}}

Flags:
{{.LocalNonPersistentFlags.FlagUsages | trimTrailingWhitespaces}}{{end}}

Flags of every command: %[1]s options{{if .HasAvailableSubCommands}}
More about a command: {{.CommandPath}} [command] --help{{end}}
`, name)
}
