package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/yaml"

	"github.com/kubectl-velero/kubectl-velero/pkg/cli/reader"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
)

// backupLocationCheck tries out a storage location.
type backupLocationCheck struct {
	format  string
	size    byteSize
	timeout time.Duration
}

// checkSize is how much is uploaded and downloaded when nobody says: several parts.
const checkSize = 64 << 20

func newBackupLocationCheck(f *Factory, use string) *cobra.Command {
	o := &backupLocationCheck{size: byteSize{resource.QuantityValue{Quantity: *resource.NewQuantity(checkSize, resource.BinarySI)}}}
	cmd := &cobra.Command{
		Use:   use + " NAME",
		Short: "Try out a storage location, and say what works",
		Long: "Try out a storage location: a Job lists, writes, reads, replaces and deletes probes directly below its prefix, each right by itself, " +
			"measures latency and throughput, proves that two writers can't take one name, and looks at what lies there and how the server behaves. " +
			"Each failure comes with the way out. Nothing but probes, named kubectl-velero-probe-..., is written, and all are removed again; " +
			"where that isn't possible the output names them. Of a read-only location only what reads is checked. " +
			"The location's status tells afterwards whether it can be reached.\n\n" +
			"The exit code is 0 when no check failed, 3 when one did, 1 when the checks couldn't be made, and 4 when they were interrupted.",
		Example: f.examples(`  %[1]s backup-location check default

  # For a script; without measuring the throughput
  %[1]s backup-location check default --size 0 -o json`),
		Args: oneName("backup-location"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.check(); err != nil {
				return err
			}
			s, err := f.connect()
			if err != nil {
				return err
			}
			return o.run(cmd.Context(), s, args[0])
		},
	}
	fs := cmd.Flags()
	fs.StringVarP(&o.format, "output", "o", "table", "Output format. One of: "+strings.Join(checkFormats, ", ")+".")
	fs.Var(&o.size, "size", "How much is uploaded and downloaded to measure the throughput; 0 leaves that out.")
	fs.DurationVar(&o.timeout, "timeout", time.Minute, "How long the Job may take to start, and then to say something; 0 for no limit.")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(checkFormats, cobra.ShellCompDirectiveNoFileComp))
	f.completeFirst(cmd, completeLocations)
	return cmd
}

var checkFormats = []string{"table", "json", "yaml"}

func (o *backupLocationCheck) check() error {
	if !slices.Contains(checkFormats, o.format) {
		return fmt.Errorf("output format %q is not known; hint: there are %s", o.format, enumerate(checkFormats))
	}
	if o.size.Sign() < 0 {
		return fmt.Errorf("--size %s: a size is not negative", &o.size)
	}
	return nil
}

// checkPermissions are those of a check; it takes away what it made.
var checkPermissions = []permission{
	{verb: "create", group: "batch", resource: "jobs"},
	{verb: "delete", group: "batch", resource: "jobs"},
	{verb: "list", resource: "pods"},
	{verb: "create", resource: "pods/portforward"},
}

func (o *backupLocationCheck) run(ctx context.Context, s *session, name string) error {
	result, err := o.make(ctx, s, name)
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		return &outcomeError{outcome: report.Cancelled, text: "interrupted; the Job removes its probes and ends"}
	}
	if err != nil {
		return err
	}
	if err := o.print(s, result); err != nil {
		return err
	}
	return ended(result)
}

// ended is the error that stands for what came of the checks; nil when none failed.
func ended(result report.LocationCheck) error {
	switch {
	case result.Count(report.CheckFailed) > 0:
		return &outcomeError{outcome: report.Failed, text: result.Verdict()}
	case result.Interrupted != "":
		return &outcomeError{outcome: report.Cancelled, text: result.Verdict()}
	}
	return nil
}

// make has a Job make the checks; in a table they are shown as they come.
func (o *backupLocationCheck) make(ctx context.Context, s *session, name string) (result report.LocationCheck, err error) {
	location, err := s.location(ctx, name)
	if err != nil {
		return result, err
	}
	template, err := s.template(ctx)
	if err != nil {
		return result, err
	}
	if err := s.mustBeAllowed(ctx, checkPermissions...); err != nil {
		return result, err
	}
	if err := s.mustHaveWhatItNames(ctx, location); err != nil {
		return result, err
	}
	c, err := o.open(ctx, reader.CheckConfig{Cluster: s.cluster(template), Location: location, Size: o.size.Value()})
	if err != nil {
		return result, err
	}
	defer func() {
		if err := c.Close(ctx); err != nil {
			s.warn("%v", err)
		}
	}()
	watched, moved, stop := untilStalled(ctx, o.timeout)
	defer stop()
	t := o.teller(s)
	result, err = c.Run(watched, func(e report.CheckEvent) error {
		moved()
		t.show(e)
		return nil
	})
	if err != nil {
		if stalled := (*stalledError)(nil); errors.As(context.Cause(watched), &stalled) {
			err = fmt.Errorf("check the storage location: %w", stalled)
		}
		return result, err
	}
	return result, nil
}

// open bounds the start of the Job.
func (o *backupLocationCheck) open(ctx context.Context, cfg reader.CheckConfig) (*reader.Check, error) {
	if o.timeout <= 0 {
		return reader.OpenCheck(ctx, cfg)
	}
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	return reader.OpenCheck(ctx, cfg)
}

// checkTeller shows results as they come, or when the output is for a program now
// and then what is being checked.
type checkTeller struct {
	f           *Factory
	table       bool
	begun, told time.Time
	header      bool
}

func (o *backupLocationCheck) teller(s *session) *checkTeller {
	return &checkTeller{f: s.Factory, table: o.format == "table", begun: s.now(), told: s.now()}
}

func (t *checkTeller) show(e report.CheckEvent) {
	now := t.f.now()
	switch {
	case e.Check != nil && t.table:
		if !t.header {
			report.PrintCheckHeader(t.f.Out)
			t.header = true
		}
		e.Check.Print(t.f.Out)
		t.told = now
	case e.Running != "" && now.Sub(t.told) >= lineEvery:
		fmt.Fprintf(t.f.ErrOut, "%4s %s\n", now.Sub(t.begun).Round(time.Second), e.Running)
		t.told = now
	}
}

// print ends the output.
func (o *backupLocationCheck) print(s *session, result report.LocationCheck) error {
	switch o.format {
	case "json":
		body, err := json.MarshalIndent(result, "", "  ")
		if err != nil {
			return fmt.Errorf("print as json: %w", err)
		}
		fmt.Fprintf(s.Out, "%s\n", body)
	case "yaml":
		body, err := yaml.Marshal(result)
		if err != nil {
			return fmt.Errorf("print as yaml: %w", err)
		}
		fmt.Fprintf(s.Out, "%s", body)
	default:
		if verdict := result.Verdict(); result.Count(report.CheckFailed) == 0 && result.Interrupted == "" {
			fmt.Fprintln(s.Out, strings.ToUpper(verdict[:1])+verdict[1:])
		}
	}
	return nil
}

// byteSize is a flag for a number of bytes, whose error is for a person.
type byteSize struct{ resource.QuantityValue }

// Set implements pflag.Value.
func (b *byteSize) Set(text string) error {
	if b.QuantityValue.Set(text) != nil {
		return fmt.Errorf("%q is no size; hint: write 64Mi, or 0 for none", text)
	}
	return nil
}
