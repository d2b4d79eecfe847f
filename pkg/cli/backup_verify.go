package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kubectl-velero/kubectl-velero/pkg/report"
	"github.com/kubectl-velero/kubectl-velero/pkg/verify"
)

type verifyFlags struct {
	archive archiveFlags
	volumes bool
	format  string
}

func newBackupVerify(f *Factory, use string) *cobra.Command {
	o := &verifyFlags{}
	cmd := &cobra.Command{
		Use:   use + " NAME",
		Short: "Read a backup back and check that it is sound",
		Long: "Read a backup back, all of it, and check it: every object in the bucket against the checksums that were stored with it, " +
			"the archive entry by entry, the lists beside it, and all of them against each other. A Job does it, next to the bucket. " +
			"Backups that Velero wrote have no checksums; they are checked as far as they can be, and the output says how far.\n\n" +
			"With --volumes, whoever has the snapshots of the backup's volumes, CSI drivers and clouds, is asked whether they still exist.\n\n" +
			"With --file, an archive on disk is checked by itself, without a cluster.\n\n" +
			"The exit code is 0 for a sound backup, 3 for one that is broken, 1 when that couldn't be found out, and 4 when it was interrupted.",
		Example: f.examples(`  %[1]s backup verify shop

  # Also the snapshots of its volumes
  %[1]s backup verify shop --volumes

  # An archive that was downloaded
  %[1]s backup verify --file shop-data.tar.gz`),
		Args: func(cmd *cobra.Command, args []string) error {
			if o.volumes && o.archive.file != "" {
				return errors.New("--volumes asks a cluster and --file asks none; hint: leave out one of the two")
			}
			return o.archive.nameAnd(cmd, args, 0, 0)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.format != "text" && o.format != "json" {
				return fmt.Errorf("output format %q is not known; hint: there are text and json", o.format)
			}
			name, _ := o.archive.split(args)
			return o.run(cmd.Context(), f, name)
		},
	}
	cmd.Flags().StringVarP(&o.format, "output", "o", "text", "Output format. One of: text, json.")
	cmd.Flags().BoolVar(&o.volumes, "volumes", false, "Also ask CSI drivers and clouds whether the snapshots of the backup's volumes still exist.")
	o.archive.add(cmd)
	cmd.Flags().Lookup("timeout").Usage = "How long reading from the bucket may stand still."
	f.completeFirst(cmd, completeBackups)
	return cmd
}

func (o *verifyFlags) run(ctx context.Context, f *Factory, backup string) error {
	ctx, moved, stop := untilStalled(ctx, o.archive.timeout)
	defer stop()
	v := &verification{f: f, name: backup, json: o.format == "json", begun: f.now(), told: f.now(), Findings: []verify.Finding{}}
	tell := func(e verify.Event) error {
		moved()
		return v.event(e)
	}
	var err error
	if o.archive.file != "" {
		v.what = fmt.Sprintf("file %q", o.archive.file)
		err = v.verifyFile(ctx, o.archive.file, tell)
	} else {
		v.what = fmt.Sprintf("backup %q", backup)
		err = v.verifyBackup(ctx, o, backup, tell, moved)
	}
	if err != nil {
		return whyStopped(ctx, err)
	}
	return v.end()
}

// verification is one run of the command; its JSON is what -o json prints.
type verification struct {
	f           *Factory
	json        bool
	name, what  string
	begun, told time.Time

	Summary  verify.Summary   `json:"summary"`
	Findings []verify.Finding `json:"findings"`
	// Volumes is nil when nobody asked for them.
	Volumes *volumesResult `json:"volumes,omitempty"`
}

func (v *verification) verifyFile(ctx context.Context, path string, tell func(verify.Event) error) (err error) {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open the archive: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	v.Summary, err = verify.Archive(ctx, file, filepath.Base(path), tell)
	return err
}

func (v *verification) verifyBackup(ctx context.Context, o *verifyFlags, backup string, tell func(verify.Event) error, moved func()) error {
	s, err := o.archive.connect(v.f)
	if err != nil {
		return err
	}
	if err := v.verifyFiles(ctx, s, backup, tell); err != nil || !o.volumes {
		return err
	}
	return v.verifyVolumes(ctx, s, backup, moved)
}

// verifyFiles checks what the bucket has.
func (v *verification) verifyFiles(ctx context.Context, s *session, backup string, tell func(verify.Event) error) error {
	r, err := s.openBackup(ctx, backup)
	if err != nil {
		return err
	}
	defer s.closeBucket(ctx, r)
	v.Summary, err = r.Verify(ctx, backup, tell)
	return err
}

// event prints a finding, or now and then how far it is.
func (v *verification) event(e verify.Event) error {
	switch now := v.f.now(); {
	case e.Finding != nil && v.json:
		v.Findings = append(v.Findings, *e.Finding)
	case e.Finding != nil:
		_, err := fmt.Fprintln(v.f.Out, findingLine(*e.Finding))
		return err
	case e.Progress != nil && now.Sub(v.told) >= lineEvery:
		v.told = now
		fmt.Fprintf(v.f.ErrOut, "%4s %s: %d bytes, %d items\n", now.Sub(v.begun).Round(time.Second), e.Progress.Object, e.Progress.Bytes, e.Progress.Items)
	}
	return nil
}

func findingLine(f verify.Finding) string {
	words := []string{string(f.Severity) + ":"}
	if f.Object != "" {
		words = append(words, f.Object+":")
	}
	if f.Path != "" {
		words = append(words, f.Path+":")
	}
	return strings.Join(append(words, f.Text), " ")
}

// end prints the result; a broken backup is an error of its own kind.
func (v *verification) end() error {
	s := v.Summary
	if v.json {
		body, err := json.MarshalIndent(v, "", "  ")
		if err != nil {
			return fmt.Errorf("print as json: %w", err)
		}
		fmt.Fprintf(v.f.Out, "%s\n", body)
	}
	if !s.Sound {
		return &outcomeError{outcome: report.Failed, text: fmt.Sprintf("%s is broken: %s", v.what, counted(s.Broken, "finding"))}
	}
	if !v.json {
		v.printSound()
	}
	if v.Volumes == nil {
		return nil
	}
	if err := v.Volumes.outcome(v.name); err != nil {
		return err
	}
	if !v.json {
		fmt.Fprintln(v.f.Out, sentence(v.Volumes.Summary.Verdict(v.name)))
	}
	return nil
}

// printSound says that the files are sound, and how far that could be checked.
func (v *verification) printSound() {
	s := v.Summary
	limits := ""
	if s.Unchecked > 0 {
		limits = " as far as it can be checked"
	}
	from := ""
	if s.Backup != "" {
		from = " in " + counted(s.Objects, "object") + " of the bucket"
	}
	fmt.Fprintf(v.f.Out, "%s is sound%s: %s, %d bytes%s\n",
		sentence(v.what), limits, counted(s.Items, "item"), s.Bytes, from)
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
