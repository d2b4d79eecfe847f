package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/cli/flag"
	"github.com/kubectl-velero/kubectl-velero/pkg/store/settings"
)

type locationCreate struct {
	creation
	locationFlags
	storageFlags
	labels    flag.Map
	isDefault bool
}

func newBackupLocationCreate(f *Factory, use string) *cobra.Command {
	o := &locationCreate{creation: newCreation()}
	cmd := &cobra.Command{
		Use:   use + " NAME --provider PROVIDER --bucket BUCKET",
		Short: "Tell where backups can be stored",
		Long: "Tell where backups can be stored: a bucket, a path in it, and how to reach it. " +
			"Settings and everything that they name are checked before anything is created; `backup-location check` then tries the storage itself.",
		Example: f.examples(locationCreateExamples),
		Args:    oneName(locationNoun.word),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.name = args[0]
			return o.run(cmd.Context(), f)
		},
	}
	fs := cmd.Flags()
	o.storageFlags.add(fs)
	o.locationFlags.add(fs)
	o.accessMode.Value = string(velerov1.BackupStorageLocationAccessModeReadWrite)
	fs.Lookup("access-mode").DefValue = o.accessMode.Value
	o.labels = flag.NewMap("=")
	fs.Var(&o.labels, "labels", "Labels for the location, such as a=b,c=d.")
	fs.BoolVar(&o.isDefault, "default", false, "Make it the location of backups that name none. Fails while another one is.")
	o.creation.add(cmd)
	o.locationFlags.complete(cmd)
	completeProviders(cmd)
	return cmd
}

const locationCreateExamples = `  # A second bucket on AWS, with credentials of its own
  %[1]s backup-location create east --provider aws --bucket backups-east --config region=us-east-1 --credential east=cloud

  # An S3 server of your own, behind a certificate of your own
  %[1]s backup-location create local --provider aws --bucket backups --cacert ./ca.crt \
    --config s3Url=https://s3.example.com,s3ForcePathStyle=true

  # Azure and Google
  %[1]s backup-location create azure --provider azure --bucket backups --config storageAccount=shopbackups --credential azure=cloud
  %[1]s backup-location create gcp --provider gcp --bucket backups --credential gcp=cloud

  # A volume of the cluster
  %[1]s backup-location create disk --provider filesystem --pvc backups

  # Another cluster's backups, only to restore from
  %[1]s backup-location create old --provider aws --bucket backups-old --access-mode ReadOnly`

// defaultFolder is the folder of a volume that backups go to when none is named.
const defaultFolder = "backups"

// storageFlags say where a bucket is.
type storageFlags struct {
	provider, bucket, prefix string
	config                   flag.Map
}

func (o *storageFlags) add(fs *pflag.FlagSet) {
	o.config = flag.NewMap("=")
	fs.StringVar(&o.provider, "provider", "", providerUsage+" Required.")
	fs.StringVar(&o.bucket, "bucket", "", "Bucket, or container, that backups go to. Required, but with the provider filesystem, where it is a folder: "+defaultFolder+" when not given.")
	fs.StringVar(&o.prefix, "prefix", "", "Path in the bucket below which everything is kept.")
	fs.Var(&o.config, "config", "Settings of the provider, such as region=us-east-1,s3Url=https://s3.example.com.")
}

const providerUsage = "Kind of the storage: aws for S3 and all that speak its protocol, azure, gcp, or filesystem for a volume of the cluster."

func completeProviders(cmd *cobra.Command) {
	_ = cmd.RegisterFlagCompletionFunc("provider", cobra.FixedCompletions(settings.Providers(), cobra.ShellCompDirectiveNoFileComp))
}

// check finds what is wrong with provider and bucket; a volume needs no bucket's name.
func (o *storageFlags) check() error {
	if o.provider == "" {
		return fmt.Errorf("--provider is required; hint: there are %s", enumerate(settings.Providers()))
	}
	provider, err := settings.Provider(o.provider)
	if err != nil {
		return fmt.Errorf("--provider: %w", err)
	}
	if o.bucket == "" && provider == settings.ProviderFilesystem {
		o.bucket = defaultFolder
	}
	return checkBucket(o.bucket)
}

func checkBucket(bucket string) error {
	switch {
	case bucket == "":
		return errors.New("--bucket is required; hint: name a bucket that exists")
	case strings.HasPrefix(bucket, "-"):
		return fmt.Errorf("--bucket %q begins with a dash; hint: did the bucket's name get lost before the next flag?", bucket)
	case strings.Contains(bucket, "/"):
		bucket, prefix, _ := strings.Cut(bucket, "/")
		return fmt.Errorf("--bucket %q holds a slash; hint: --bucket %s --prefix %s", bucket+"/"+prefix, bucket, prefix)
	}
	return nil
}

func (o *locationCreate) run(ctx context.Context, f *Factory) error {
	location, err := o.object(f.Namespace())
	if err != nil {
		return err
	}
	return o.finish(f, "backupstoragelocation", steps{
		objects: func() ([]runtime.Object, error) { return []runtime.Object{location}, nil },
		create:  func(s *session) error { return o.create(ctx, s, location) },
	})
}

// object is what the flags describe, if it is one that a Job can use.
func (o *locationCreate) object(namespace string) (*velerov1.BackupStorageLocation, error) {
	if err := o.creation.check("storage location"); err != nil {
		return nil, err
	}
	if err := o.storageFlags.check(); err != nil {
		return nil, err
	}
	if err := checkLabels(o.labels.Data()); err != nil {
		return nil, err
	}
	location := &velerov1.BackupStorageLocation{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: o.name, Labels: o.labels.Data()},
		Spec: velerov1.BackupStorageLocationSpec{
			Provider: o.provider, Config: o.config.Data(), Default: o.isDefault,
			ObjectStorage: &velerov1.ObjectStorageLocation{Bucket: o.bucket, Prefix: strings.Trim(o.prefix, "/")},
			AccessMode:    velerov1.BackupStorageLocationAccessMode(o.accessMode.Value),
		},
	}
	if err := o.apply(&location.Spec); err != nil {
		return nil, err
	}
	return location, checkLocationSpec(location.Spec)
}

func (o *locationCreate) create(ctx context.Context, s *session, location *velerov1.BackupStorageLocation) error {
	if err := s.mustBeAllowed(ctx, permission{verb: "create", group: "velero.io", resource: "backupstoragelocations"},
		permission{verb: "list", group: "velero.io", resource: "backupstoragelocations"}); err != nil {
		return err
	}
	if err := s.mustHaveNoServer(ctx); err != nil {
		return err
	}
	others, err := s.locations(ctx, nil, "")
	if err != nil {
		return err
	}
	if err := o.checkAmong(s, others); err != nil {
		return err
	}
	if err := s.mustHaveWhatItNames(ctx, location); err != nil {
		return err
	}
	schedules, err := s.schedulesIn(ctx, location.Name)
	if err != nil {
		return err
	}
	_, err = s.velero.BackupStorageLocations(s.namespace).Create(ctx, location, metav1.CreateOptions{FieldManager: fieldManager})
	if apierrors.IsAlreadyExists(err) {
		return o.taken(s)
	}
	if err != nil {
		return s.explain(fmt.Sprintf("create storage location %q", location.Name), err)
	}
	fmt.Fprintf(s.Out, "Backup storage location %q configured successfully.\n", location.Name)
	if err := s.refreshCronJobs(ctx, schedules); err != nil {
		return err
	}
	fmt.Fprintf(s.ErrOut, "Run `%s backup-location check %s` to see whether it works.\n", s.name, location.Name)
	return nil
}

// checkAmong refuses a second location of the name, and a second default.
func (o *locationCreate) checkAmong(s *session, others []velerov1.BackupStorageLocation) error {
	for i := range others {
		switch other := &others[i]; {
		case other.Name == o.name:
			return o.taken(s)
		case o.isDefault && other.Spec.Default:
			return fmt.Errorf("--default: storage location %q is the default already; hint: create this one without, and then move the default with `%s backup-location set %s --default`",
				other.Name, s.name, o.name)
		}
	}
	return nil
}

func (o *locationCreate) taken(s *session) error {
	return fmt.Errorf("storage location %q exists already; hint: choose another name, or change it with `%s backup-location set %s`", o.name, s.name, o.name)
}
