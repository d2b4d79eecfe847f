package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/cli/flag"
	"github.com/kubectl-velero/kubectl-velero/pkg/install"
	"github.com/kubectl-velero/kubectl-velero/pkg/launch"
	"github.com/kubectl-velero/kubectl-velero/pkg/store/settings"
)

const installExamples = `  # AWS, with credentials in a file
  %[1]s install --provider aws --bucket backups --secret-file ./credentials

  # An S3 server of your own, behind a certificate of your own
  %[1]s install --provider aws --bucket backups --secret-file ./credentials --cacert ./ca.crt \
    --backup-location-config region=us-east-1,s3ForcePathStyle=true,s3Url=https://s3.example.com

  # Azure and Google, with credentials in files of their own forms
  %[1]s install --provider azure --bucket backups --secret-file ./credentials-azure --backup-location-config storageAccount=shopbackups
  %[1]s install --provider gcp --bucket backups --secret-file ./credentials-gcp.json

  # An identity that the cloud gives to the service accounts
  %[1]s install --provider aws --bucket backups --no-secret --sa-annotations eks.amazonaws.com/role-arn=arn:aws:iam::123456789012:role/velero

  # No object store: a volume of the cluster
  %[1]s install --provider filesystem --storage-size 10Gi

  # Back up every served version of each kind, not only the preferred one
  %[1]s install --provider aws --bucket backups --secret-file ./credentials --features=EnableCSI,EnableAPIGroupVersions

  # The cloud's own snapshots of disks, instead of CSI drivers'
  %[1]s install --provider aws --bucket backups --secret-file ./credentials --backup-location-config region=eu-central-1 --features=

  # Print what would be created
  %[1]s install --provider aws --bucket backups --no-secret --dry-run -o yaml`

// installFlags is what was typed.
type installFlags struct {
	provider, bucket, prefix string
	locationConfig           flag.Map
	cacert, encryptionKey    string
	insecure                 bool
	volume                   volumeFlags
	snapshots                snapshotFlags
	noDefaultLocation        bool

	secretFile string
	noSecret   bool

	image, pullPolicy         string
	cpuRequest, memRequest    string
	cpuLimit, memLimit        string
	podAnnotations, podLabels flag.Map
	podEnv                    flag.Map
	serviceAccountAnnotations flag.Map
	features                  flag.List
	// featuresSet says that the flag was given, though it may be empty.
	featuresSet bool
	crdsOnly    bool
	dryRun      dryRun
	output      string
	wait        bool
}

func newInstallCommand(f *Factory) *cobra.Command {
	flags := installFlags{
		locationConfig: flag.NewMap("="), podAnnotations: flag.NewMap("="),
		podLabels: flag.NewMap("="), serviceAccountAnnotations: flag.NewMap("="), podEnv: flag.NewMap("="),
	}
	cmd := &cobra.Command{
		Use:   "install",
		Short: "Install into the cluster, or bring an installation up to date",
		Long: "Install into the cluster: the kinds of velero.io, a namespace, accounts and their rights, the settings of Jobs, " +
			"a default location for backups, and an hourly CronJob for the chores. No server is among it. " +
			"Installing again changes only what differs.",
		Example: f.examples(installExamples),
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if flags.featuresSet = cmd.Flags().Changed("features"); !flags.featuresSet {
				flags.features = f.configuredFeatures()
			}
			options, err := flags.toOptions(f)
			if err != nil {
				return err
			}
			return options.run(cmd.Context())
		},
	}
	flags.add(cmd.Flags())
	completeProviders(cmd)
	completeChoice(cmd, "storage-access-mode", flags.volume.accessMode)
	return cmd
}

func (fl *installFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&fl.provider, "provider", "", providerUsage)
	flags.StringVar(&fl.bucket, "bucket", "", "Bucket, or container, that backups go to; with the provider filesystem a folder, "+defaultFolder+" when not given.")
	flags.StringVar(&fl.prefix, "prefix", "", "Path in the bucket below which everything is kept.")
	flags.Var(&fl.locationConfig, "backup-location-config", "Settings of the default location, such as region=us-east-1,s3Url=https://s3.example.com.")
	flags.StringVar(&fl.cacert, "cacert", "", "File with the certificates, in PEM, that the storage's own is checked against.")
	flags.BoolVar(&fl.insecure, "insecure-skip-tls-verify", false, "Don't check the storage's certificate: the same as --backup-location-config "+settings.InsecureKey+"=true.")
	flags.StringVar(&fl.encryptionKey, "encryption-key-file", "", "With the provider aws: file with the key of 32 bytes that the server is to encrypt objects with (SSE-C). Who loses it loses the backups.")
	fl.volume.add(flags)
	fl.snapshots.add(flags)
	flags.BoolVar(&fl.noDefaultLocation, "no-default-backup-location", false, "Create no default location.")
	flags.StringVar(&fl.secretFile, "secret-file", "", "File with the storage's credentials.")
	flags.BoolVar(&fl.noSecret, "no-secret", false, "Use no credentials file: the cloud gives the service accounts an identity.")
	flags.StringVar(&fl.image, "image", defaultImage(), "Image of the executor.")
	flags.StringVar(&fl.pullPolicy, "image-pull-policy", "", "When to pull the image: Always, IfNotPresent or Never. Default: Kubernetes' own rule.")
	flags.StringVar(&fl.cpuRequest, "velero-pod-cpu-request", "500m", "CPU that a Job's pod asks for; 0 for none.")
	flags.StringVar(&fl.memRequest, "velero-pod-mem-request", "128Mi", "Memory that a Job's pod asks for; 0 for none.")
	flags.StringVar(&fl.cpuLimit, "velero-pod-cpu-limit", "1000m", "CPU that a Job's pod may use; 0 for no limit.")
	flags.StringVar(&fl.memLimit, "velero-pod-mem-limit", "512Mi", "Memory that a Job's pod may use; 0 for no limit.")
	flags.Var(&fl.podAnnotations, "pod-annotations", "Annotations of Jobs' pods.")
	flags.Var(&fl.podLabels, "pod-labels", "Labels of Jobs' pods.")
	flags.Var(&fl.podEnv, "pod-env", "Variables of Jobs' pods, such as HTTPS_PROXY=http://proxy:3128. An entry in double quotes may hold commas.")
	flags.Var(&fl.serviceAccountAnnotations, "sa-annotations", "Annotations of the service accounts velero and velero-restore.")
	flags.Var(&fl.features, "features", "Feature flags of the Jobs, separated by commas: EnableCSI, EnableAPIGroupVersions; empty for none. Default: the client config file's, else EnableCSI.")
	flags.BoolVar(&fl.crdsOnly, "crds-only", false, "Only create the kinds of velero.io, or bring them up to date.")
	fl.dryRun.add(flags)
	flags.StringVarP(&fl.output, "output", "o", "", "Print the objects, credentials included: yaml or json.")
	flags.BoolVar(&fl.wait, "wait", false, "For compatibility with Velero: install always waits until the new kinds can be used, and there is no server to wait for.")
}

// installOptions is an installation that is ready to be made.
type installOptions struct {
	f       *Factory
	objects install.Options
	dryRun  bool
	output  string
}

func (o *installOptions) run(ctx context.Context) error {
	if o.dryRun {
		return o.show()
	}
	cluster, err := installCluster(o.f)
	if err != nil {
		return err
	}
	if err := install.Check(ctx, cluster, o.objects); err != nil {
		return o.f.explain("install", err)
	}
	progress := o.f.Out
	if o.output != "" {
		// Results are the objects then.
		progress = o.f.ErrOut
		if err := o.show(); err != nil {
			return err
		}
	}
	err = install.Apply(ctx, cluster, o.objects, func(c install.Change) { fmt.Fprintln(progress, c) })
	if err != nil {
		return o.f.explain("install", err)
	}
	return o.closing(ctx, cluster)
}

// show prints what would be created: the objects, or with no output format their
// names.
func (o *installOptions) show() error {
	objects, err := install.Objects(o.objects)
	if err != nil {
		return err
	}
	var items []map[string]any
	for _, object := range objects {
		manifest, err := install.Manifest(object)
		if err != nil {
			return err
		}
		items = append(items, manifest.Object)
		if o.output == "" {
			name, err := install.Place(manifest)
			if err != nil {
				return err
			}
			fmt.Fprintf(o.f.Out, "%s created (dry run)\n", install.Name(name))
		}
	}
	if o.output == "" {
		return nil
	}
	if o.dryRun && !o.objects.CRDsOnly {
		fmt.Fprintf(o.f.ErrOut, "note: ClusterRole %q is missing its owner, ClusterRoleBinding %[1]q, whose UID only the cluster knows; "+
			"deleting the binding deletes the role only if %s made them\n",
			launch.InstallBinding(o.objects.Namespace), o.f.name+" install")
	}
	return printObjects(o.f, o.output, map[string]any{"apiVersion": "v1", "kind": "List", "items": items})
}

func printObjects(f *Factory, format string, list any) error {
	var body []byte
	var err error
	if format == outputJSON {
		body, err = json.MarshalIndent(list, "", "    ")
		body = append(body, '\n')
	} else {
		body, err = yaml.Marshal(list)
	}
	if err != nil {
		return fmt.Errorf("encode objects: %w", err)
	}
	_, err = f.Out.Write(body)
	return err
}

// closing warns of what is likely a mistake, and says what to do next.
func (o *installOptions) closing(ctx context.Context, cluster install.Cluster) error {
	if o.objects.CRDsOnly {
		return nil
	}
	if o.objects.Credentials == nil {
		_, err := cluster.Kubernetes.CoreV1().Secrets(o.objects.Namespace).Get(ctx, install.CredentialsSecret, metav1.GetOptions{})
		if err == nil {
			o.f.warn("Secret %q is there from before, and is still used; hint: kubectl -n %s delete secret %[1]s", install.CredentialsSecret, o.objects.Namespace)
		}
	}
	if err := o.warnOfDefaults(ctx); err != nil {
		return err
	}
	if err := o.refreshSchedules(ctx); err != nil {
		return err
	}
	fmt.Fprint(o.f.ErrOut, install.Trust(o.objects))
	fmt.Fprintf(o.f.ErrOut, "Installed in namespace %s. Next: %s backup create NAME --include-namespaces NAMESPACE --wait\n", o.objects.Namespace, o.f.name)
	return nil
}

// refreshSchedules gives the CronJobs of schedules that were there before what the
// default location needs now.
func (o *installOptions) refreshSchedules(ctx context.Context) error {
	if o.objects.Location == nil {
		return nil
	}
	s, err := o.f.connect()
	if err != nil {
		return err
	}
	s.namespace = o.objects.Namespace
	schedules, err := s.schedulesIn(ctx, velerov1.DefaultName)
	if err != nil {
		return err
	}
	return s.refreshCronJobs(ctx, schedules)
}

// warnOfDefaults tells of a second default location.
func (o *installOptions) warnOfDefaults(ctx context.Context) error {
	if o.objects.Location == nil {
		return nil
	}
	velero, err := o.f.Velero()
	if err != nil {
		return err
	}
	locations, err := velero.BackupStorageLocations(o.objects.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return o.f.explain("list locations", err)
	}
	var defaults []string
	for i := range locations.Items {
		if locations.Items[i].Spec.Default {
			defaults = append(defaults, locations.Items[i].Name)
		}
	}
	if len(defaults) > 1 {
		slices.Sort(defaults)
		o.f.warn("several locations are the default: %q; hint: `%s backup-location set NAME --default` leaves one", defaults, o.f.name)
	}
	return nil
}

func installCluster(f *Factory) (install.Cluster, error) {
	kube, err := f.Kubernetes()
	if err != nil {
		return install.Cluster{}, err
	}
	dynamic, err := f.Dynamic()
	if err != nil {
		return install.Cluster{}, err
	}
	return install.Cluster{Kubernetes: kube, Dynamic: dynamic}, nil
}
