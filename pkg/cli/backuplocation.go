package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/cli/flag"
	"github.com/kubectl-velero/kubectl-velero/pkg/store/settings"
)

var locationNoun = noun{word: "backup-location", title: "Backup storage location"}

// locationFlags are those that backup-location create and set have alike.
type locationFlags struct {
	credential, caCertRef           flag.SecretKey
	caCert, claim                   string
	insecure                        flag.OptionalBool
	accessMode                      flag.Choice
	syncPeriod, validationFrequency flag.Duration
	// given reports whether a flag stands on the command line.
	given func(name string) bool
}

func (o *locationFlags) add(fs *pflag.FlagSet) {
	o.given = fs.Changed
	o.accessMode = flag.NewChoice(string(velerov1.BackupStorageLocationAccessModeReadWrite), string(velerov1.BackupStorageLocationAccessModeReadOnly))
	fs.Var(&o.credential, "credential", "The Secret with the storage's credentials, and the key in it: SECRET=KEY. Default: those given at installation.")
	fs.StringVar(&o.caCert, "cacert", "", "File with the certificates, in PEM, that the storage's own is checked against. They are stored in the location.")
	fs.Var(&o.caCertRef, "cacert-ref", "The Secret with such certificates, and the key in it: SECRET=KEY.")
	flag.AddOptionalBool(fs, &o.insecure, "insecure-skip-tls-verify", "Don't check the storage's certificate: the same as --config "+settings.InsecureKey+"=true.")
	fs.StringVar(&o.claim, "pvc", "", "With the provider filesystem: the PersistentVolumeClaim that holds the backups; the same as --config "+settings.FilesystemClaimKey+"=NAME.")
	fs.Var(&o.accessMode, "access-mode", "Whether backups may be written there: ReadWrite or ReadOnly.")
	fs.Var(&o.syncPeriod, "backup-sync-period", "How often backups that others wrote there are brought into the cluster, by the hourly maintenance; 0 for never. Default: each time.")
	fs.Var(&o.validationFrequency, "validation-frequency", "How often the location is tried, by the hourly maintenance; 0 for only once. Default: each time.")
	for _, unset := range []string{"backup-sync-period", "validation-frequency"} {
		fs.Lookup(unset).DefValue = "" // help would show 0s, which means never
	}
}

func (o *locationFlags) complete(cmd *cobra.Command) {
	completeChoice(cmd, "access-mode", o.accessMode)
	_ = cmd.MarkFlagFilename("cacert") // fails only for a flag that isn't there
}

// apply writes into a location what was typed.
func (o *locationFlags) apply(spec *velerov1.BackupStorageLocationSpec) error {
	if o.given("credential") {
		spec.Credential = selector(o.credential)
	}
	if o.given("access-mode") {
		spec.AccessMode = velerov1.BackupStorageLocationAccessMode(o.accessMode.Value)
	}
	if o.given("backup-sync-period") {
		spec.BackupSyncPeriod = &metav1.Duration{Duration: o.syncPeriod.Value}
	}
	if o.given("validation-frequency") {
		spec.ValidationFrequency = &metav1.Duration{Duration: o.validationFrequency.Value}
	}
	if o.given("pvc") {
		spec.Config = with(spec.Config, settings.FilesystemClaimKey, o.claim)
	}
	o.applyInsecure(spec)
	return o.applyCertificates(spec)
}

func (o *locationFlags) applyInsecure(spec *velerov1.BackupStorageLocationSpec) {
	switch value := o.insecure.Value; {
	case value == nil:
	case *value:
		spec.Config = with(spec.Config, settings.InsecureKey, "true")
	default:
		delete(spec.Config, settings.InsecureKey)
	}
}

// applyCertificates keeps what the location has unless a flag was given, and never
// both kinds: Velero calls such a location invalid.
func (o *locationFlags) applyCertificates(spec *velerov1.BackupStorageLocationSpec) error {
	storage := spec.ObjectStorage
	switch {
	case o.caCert != "" && o.caCertRef.Secret != "":
		return errors.New("--cacert and --cacert-ref can't be used together; hint: leave out one of the two")
	case o.given("cacert-ref"):
		storage.CACertRef = selector(o.caCertRef)
		if storage.CACertRef != nil {
			storage.CACert = nil
		}
	}
	if !o.given("cacert") {
		return nil
	}
	storage.CACert = nil
	if o.caCert == "" {
		return nil
	}
	pem, err := readCACert("--cacert", o.caCert)
	storage.CACert, storage.CACertRef = pem, nil
	return err
}

func selector(k flag.SecretKey) *corev1.SecretKeySelector {
	if k.Secret == "" {
		return nil
	}
	return &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: k.Secret}, Key: k.Key}
}

// checkLocationSpec finds what no Job could use, without asking the cluster.
func checkLocationSpec(spec velerov1.BackupStorageLocationSpec) error {
	provider, err := settings.Provider(spec.Provider)
	if err != nil {
		return fmt.Errorf("--provider: %w", err)
	}
	if provider == settings.ProviderFilesystem && spec.Config[settings.FilesystemClaimKey] == "" {
		return errors.New("--pvc is required with the provider filesystem; hint: name the PersistentVolumeClaim that holds the backups")
	}
	if provider != settings.ProviderFilesystem && spec.Config[settings.FilesystemClaimKey] != "" {
		return fmt.Errorf("--pvc is for the provider filesystem, and this one is %q; hint: leave it out, or use --provider filesystem", spec.Provider)
	}
	if err := settings.Check(spec.Provider, spec.Config); err != nil {
		return fmt.Errorf("--config: %w", err)
	}
	return nil
}
