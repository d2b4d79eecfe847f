package cli

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/api/validation"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"

	"github.com/kubectl-velero/kubectl-velero/pkg/cli/flag"
	"github.com/kubectl-velero/kubectl-velero/pkg/install"
	"github.com/kubectl-velero/kubectl-velero/pkg/store/settings"
)

// volumeFlags are for the provider filesystem: the volume that holds the backups.
type volumeFlags struct {
	claim, size, class string
	accessMode         flag.Choice
}

func (v *volumeFlags) add(flags *pflag.FlagSet) {
	v.accessMode = flag.NewChoice(string(corev1.ReadWriteOnce), string(corev1.ReadWriteMany), string(corev1.ReadWriteOncePod))
	flags.StringVar(&v.claim, "pvc", "", "With the provider filesystem: the PersistentVolumeClaim that holds the backups. Default, with --storage-size: "+install.DefaultClaim+".")
	flags.StringVar(&v.size, "storage-size", "", "With the provider filesystem: make the claim, or enlarge it, to this size, such as 10Gi.")
	flags.StringVar(&v.class, "storage-class", "", "With --storage-size: the claim's storage class. Default: the cluster's.")
	flags.Var(&v.accessMode, "storage-access-mode", "With --storage-size: ReadWriteMany where Jobs on several nodes are to reach the volume at once, as on NFS. Default: ReadWriteOnce.")
}

// given names the first flag that was used; empty for none.
func (v *volumeFlags) given() string {
	for _, f := range []struct{ name, value string }{
		{"--pvc", v.claim}, {"--storage-size", v.size}, {"--storage-class", v.class}, {"--storage-access-mode", v.accessMode.Value},
	} {
		if f.value != "" {
			return f.name
		}
	}
	return ""
}

// read fills in the volume of a location of provider filesystem.
func (v *volumeFlags) read(l *install.Location) error {
	l.Claim, l.StorageClass, l.AccessMode = v.claim, v.class, corev1.PersistentVolumeAccessMode(v.accessMode.Value)
	if v.size == "" {
		switch {
		case v.claim == "":
			return errors.New("--pvc is required with the provider filesystem; hint: name a PersistentVolumeClaim, or say with --storage-size 10Gi how large a one to make")
		case v.class != "" || v.accessMode.Value != "":
			return fmt.Errorf("%s is for a claim that is made; hint: say with --storage-size how large, or leave it out", v.unmade())
		}
		return checkClaimName(v.claim)
	}
	if l.Claim == "" {
		l.Claim = install.DefaultClaim
	}
	size, err := resource.ParseQuantity(v.size)
	if err != nil || size.Sign() <= 0 {
		return fmt.Errorf("--storage-size %q is no size; hint: write 10Gi", v.size)
	}
	l.Size = size
	return checkClaimName(l.Claim)
}

func (v *volumeFlags) unmade() string {
	if v.class != "" {
		return "--storage-class"
	}
	return "--storage-access-mode"
}

func checkClaimName(name string) error {
	if problems := validation.NameIsDNSSubdomain(name, false); len(problems) > 0 {
		return fmt.Errorf("--pvc %q is not a name for a PersistentVolumeClaim; hint: use lower case letters, digits, \"-\" and \".\"", name)
	}
	return nil
}

// readLocation takes over the default location, if it is one that Jobs can use.
func (fl *installFlags) readLocation(o *install.Options) error {
	if fl.noDefaultLocation {
		return fl.checkNoLocation()
	}
	if fl.provider == "" {
		return errors.New("--provider is required; hint: --provider aws, or --no-default-backup-location to choose a location later")
	}
	provider, err := settings.Provider(fl.provider)
	if err != nil {
		return fmt.Errorf("--provider: %w", err)
	}
	o.Location = &install.Location{
		Provider: fl.provider, Bucket: fl.bucket, Prefix: strings.Trim(fl.prefix, "/"), Config: fl.locationConfig.Data(),
	}
	if provider == settings.ProviderFilesystem {
		if err := fl.readFolder(o.Location); err != nil {
			return err
		}
	} else if name := fl.volume.given(); name != "" {
		return fmt.Errorf("%s is for the provider filesystem, and this one is %q; hint: leave it out, or use --provider filesystem", name, fl.provider)
	}
	if o.Location.Bucket == "" {
		return errors.New("--bucket is required; hint: name a bucket that exists, or --no-default-backup-location to choose a location later")
	}
	if err := checkBucket(o.Location.Bucket); err != nil {
		return err
	}
	if err := fl.readConnection(o, provider); err != nil {
		return err
	}
	return checkInstalledConfig(o.Location)
}

func (fl *installFlags) readFolder(l *install.Location) error {
	if l.Bucket == "" {
		l.Bucket = defaultFolder
	}
	if claim := fl.locationConfig.Data()[settings.FilesystemClaimKey]; fl.volume.claim == "" {
		fl.volume.claim = claim
	} else if claim != "" && claim != fl.volume.claim {
		return fmt.Errorf("--pvc %s and --backup-location-config %s=%s differ; hint: leave out one of the two", fl.volume.claim, settings.FilesystemClaimKey, claim)
	}
	return fl.volume.read(l)
}

// readConnection takes over how the storage is reached and what it encrypts with.
func (fl *installFlags) readConnection(o *install.Options, provider string) (err error) {
	if fl.insecure {
		o.Location.Config = with(o.Location.Config, settings.InsecureKey, "true")
	}
	if fl.cacert != "" {
		if o.Location.CACert, err = readCACert("--cacert", fl.cacert); err != nil {
			return err
		}
	}
	if fl.encryptionKey == "" {
		return nil
	}
	if provider != settings.ProviderAWS {
		return fmt.Errorf("--encryption-key-file is for the provider aws, and this one is %q; hint: leave it out", fl.provider)
	}
	if o.CustomerKey, err = readFlagFile("--encryption-key-file", fl.encryptionKey); err != nil {
		return err
	}
	if problem := checkEncryptionKey(o.CustomerKey); problem != "" {
		return fmt.Errorf("--encryption-key-file %s %s", fl.encryptionKey, problem)
	}
	return nil
}

// checkInstalledConfig looks at the settings as the location will have them.
func checkInstalledConfig(l *install.Location) error {
	config := l.Config
	if l.Claim != "" {
		config = with(config, settings.FilesystemClaimKey, l.Claim)
	}
	if err := settings.Check(l.Provider, config); err != nil {
		return fmt.Errorf("--backup-location-config: %w", err)
	}
	return nil
}

func (fl *installFlags) checkNoLocation() error {
	insecure := ""
	if fl.insecure {
		insecure = "true"
	}
	for _, given := range []struct{ flag, value string }{
		{"--bucket", fl.bucket}, {"--prefix", fl.prefix}, {"--backup-location-config", fl.locationConfig.String()}, {"--cacert", fl.cacert},
		{"--insecure-skip-tls-verify", insecure}, {"--encryption-key-file", fl.encryptionKey}, {fl.volume.given(), fl.volume.given()},
	} {
		if given.value != "" {
			return fmt.Errorf("%s is for the default location and can't go with --no-default-backup-location; hint: leave out one of the two", given.flag)
		}
	}
	return nil
}

// ownVariables are those that Jobs are told by; VELERO_ begins others.
var ownVariables = []string{"POD_NAME", "JOB_NAME", "JOB_UID", "READ_PREFIXES", "READ_TOKEN_SHA256"}

// readPodEnv takes over variables of the Jobs. Their values are read by whoever may
// read the installation, so a password among them is told, and never shown.
func (fl *installFlags) readPodEnv(f *Factory) func(*install.Options) error {
	return func(o *install.Options) error {
		env := fl.podEnv.Data()
		for _, name := range slices.Sorted(maps.Keys(env)) {
			switch {
			case len(utilvalidation.IsEnvVarName(name)) > 0:
				return fmt.Errorf("--pod-env: %q is not a name for a variable; hint: for example --pod-env HTTPS_PROXY=http://proxy:3128", name)
			case strings.HasPrefix(name, "VELERO_") || slices.Contains(ownVariables, name):
				return fmt.Errorf("--pod-env: %q is kept for this program; hint: flags of install set what Jobs are to do", name)
			}
			if u, err := url.Parse(env[name]); err == nil && u.User != nil {
				if _, secret := u.User.Password(); secret {
					f.warn("--pod-env: %s holds a password, which everybody sees who may read pods in namespace %q", name, o.Namespace)
				}
			}
			o.PodEnv = append(o.PodEnv, corev1.EnvVar{Name: name, Value: env[name]})
		}
		return nil
	}
}
