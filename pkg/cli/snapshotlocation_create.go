package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/cli/flag"
	"github.com/kubectl-velero/kubectl-velero/pkg/store/settings"
)

type snapshotLocationCreate struct {
	creation
	provider       string
	config, labels flag.Map
	credential     flag.SecretKey
}

func newSnapshotLocationCreate(f *Factory, use string) *cobra.Command {
	o := &snapshotLocationCreate{creation: newCreation(), config: flag.NewMap("="), labels: flag.NewMap("=")}
	cmd := &cobra.Command{
		Use:   use + " NAME --provider PROVIDER",
		Short: "Tell where volume snapshots are kept",
		Long: "Tell where the clouds' own snapshots of disks are kept, and with which credentials they are taken. " +
			"A backup uses one location of each provider: the one that it names, or the only one that there is. " +
			"Volumes of CSI drivers whose snapshots go through the cluster's own API need no location.",
		Example: f.examples(`  # Disks of AWS
  %[1]s snapshot-location create disks --provider aws --config region=eu-central-1

  # With credentials of its own
  %[1]s snapshot-location create disks --provider aws --config region=eu-central-1 --credential disks=cloud`),
		Args: oneName(snapshotLocationNoun.word),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.name = args[0]
			return o.run(cmd.Context(), f)
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&o.provider, "provider", "", "Who takes the snapshots, such as aws, azure or gcp. Required.")
	fs.Var(&o.config, "config", "Settings of the provider, such as region=eu-central-1.")
	fs.Var(&o.labels, "labels", "Labels for the location, such as a=b,c=d.")
	fs.Var(&o.credential, "credential", "The Secret with the provider's credentials, and the key in it: SECRET=KEY. Default: those given at installation.")
	o.creation.add(cmd)
	_ = cmd.RegisterFlagCompletionFunc("provider", cobra.FixedCompletions([]string{"aws", "azure", "gcp"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (o *snapshotLocationCreate) run(ctx context.Context, f *Factory) error {
	if err := o.creation.check("snapshot location"); err != nil {
		return err
	}
	if o.provider == "" {
		return errors.New("--provider is required; hint: for example --provider aws")
	}
	if err := settings.CheckSnapshots(o.provider, o.config.Data()); err != nil {
		return fmt.Errorf("--config: %w", err)
	}
	if err := checkLabels(o.labels.Data()); err != nil {
		return err
	}
	location := &velerov1.VolumeSnapshotLocation{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.Namespace(), Name: o.name, Labels: o.labels.Data()},
		Spec:       velerov1.VolumeSnapshotLocationSpec{Provider: o.provider, Config: o.config.Data(), Credential: selector(o.credential)},
	}
	return o.finish(f, "volumesnapshotlocation", steps{
		objects: func() ([]runtime.Object, error) { return []runtime.Object{location}, nil },
		create:  func(s *session) error { return o.create(ctx, s, location) },
	})
}

func (o *snapshotLocationCreate) create(ctx context.Context, s *session, location *velerov1.VolumeSnapshotLocation) error {
	if err := s.mustHaveNoServer(ctx); err != nil {
		return err
	}
	if location.Spec.Credential != nil {
		if err := s.checkSecretKey(ctx, "--credential", location.Spec.Credential, checkNotEmpty); err != nil {
			return err
		}
	}
	_, err := s.velero.VolumeSnapshotLocations(s.namespace).Create(ctx, location, metav1.CreateOptions{FieldManager: fieldManager})
	if apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("snapshot location %q exists already; hint: choose another name, or change it with `%s snapshot-location set %s`", o.name, s.name, o.name)
	}
	if err != nil {
		return s.explain(fmt.Sprintf("create snapshot location %q", o.name), err)
	}
	fmt.Fprintf(s.Out, "Snapshot volume location %q configured successfully.\n", o.name)
	return s.refreshSnapshotSchedules(ctx)
}
