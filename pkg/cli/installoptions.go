package cli

import (
	"errors"
	"fmt"
	"os"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/kubectl-velero/kubectl-velero/pkg/cli/flag"
	"github.com/kubectl-velero/kubectl-velero/pkg/install"
	"github.com/kubectl-velero/kubectl-velero/pkg/version"
)

const (
	outputYAML = "yaml"
	outputJSON = "json"

	// imageRepository is where released executors are.
	imageRepository = "ghcr.io/kubectl-velero/executor"
	// maxSecretBytes is what Kubernetes allows a Secret to hold.
	maxSecretBytes = corev1.MaxSecretSize
)

// defaultImage is the executor of this program's version; empty when that isn't a
// release, since there is no image then.
func defaultImage() string {
	release := version.Get().Version
	if !isRelease(release) {
		return ""
	}
	return imageRepository + ":" + release
}

// isRelease tells vMAJOR.MINOR.PATCH, with or without a pre-release, from what the Go
// command makes up for a commit, which ends in a time and a hash.
func isRelease(version string) bool {
	core, pre, _ := strings.Cut(version, "-")
	return strings.HasPrefix(version, "v") && strings.Count(core, ".") == 2 &&
		!strings.Contains(version, "+") && strings.Count(pre, "-") == 0 && !strings.HasPrefix(pre, "0.")
}

// toOptions checks everything that can be checked without the cluster.
func (fl *installFlags) toOptions(f *Factory) (*installOptions, error) {
	o := &installOptions{f: f, output: fl.output, dryRun: fl.dryRun.Value == dryRunClient}
	if o.output != "" && o.output != outputYAML && o.output != outputJSON {
		return nil, fmt.Errorf("--output %q is not known; hint: use yaml or json", o.output)
	}
	o.objects.CRDsOnly = fl.crdsOnly
	if fl.crdsOnly {
		return o, nil
	}
	o.objects.Namespace = f.Namespace()
	for _, step := range []func(*install.Options) error{
		func(o *install.Options) error { return install.CheckNamespace(o.Namespace) },
		fl.readLocation, fl.readCredentials, fl.readSnapshots, fl.readImage, fl.readResources, fl.readMetadata, fl.readFeatures(f), fl.readPodEnv(f),
	} {
		if err := step(&o.objects); err != nil {
			return nil, err
		}
	}
	return o, nil
}

func (fl *installFlags) readCredentials(o *install.Options) error {
	switch {
	case fl.secretFile != "" && fl.noSecret:
		return errors.New("--secret-file and --no-secret can't go together; hint: leave out one of the two")
	case fl.secretFile == "" && !fl.noSecret && !fl.noDefaultLocation && o.Location.Claim == "":
		return errors.New("one of --secret-file and --no-secret is required; hint: --secret-file FILE with the storage's credentials, or --no-secret if the cloud gives pods an identity")
	case fl.secretFile == "":
		return nil
	}
	var err error
	o.Credentials, err = readFlagFile("--secret-file", fl.secretFile)
	return err
}

// readFlagFile reads a file that a flag names and that goes into an object. Its
// content never gets into an error.
func readFlagFile(name, path string) ([]byte, error) {
	body, err := os.ReadFile(path)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w; hint: name a file that exists and that you may read", name, err)
	case len(body) == 0:
		return nil, fmt.Errorf("%s: %s is empty", name, path)
	case len(body) > maxSecretBytes:
		return nil, fmt.Errorf("%s: %s has %d bytes, more than the %d that Kubernetes stores; hint: is it the right file?", name, path, len(body), maxSecretBytes)
	}
	return body, nil
}

func (fl *installFlags) readImage(o *install.Options) error {
	switch {
	case fl.image == "":
		return errors.New("--image is required, since this program is no release and has no image of its own; hint: name the executor image that you built")
	case strings.ContainsAny(fl.image, " \t\n") || strings.Contains(fl.image, "://"):
		return fmt.Errorf("--image %q is no image name; hint: it has the form registry/repository:tag", fl.image)
	}
	o.Image = fl.image
	o.ImagePullPolicy = corev1.PullPolicy(fl.pullPolicy)
	switch o.ImagePullPolicy {
	case "", corev1.PullAlways, corev1.PullIfNotPresent, corev1.PullNever:
		return nil
	}
	return fmt.Errorf("--image-pull-policy %q is not known; hint: use Always, IfNotPresent or Never", fl.pullPolicy)
}

func (fl *installFlags) readResources(o *install.Options) error {
	o.Resources = corev1.ResourceRequirements{Requests: corev1.ResourceList{}, Limits: corev1.ResourceList{}}
	for _, q := range []struct {
		flag, value string
		list        corev1.ResourceList
		name        corev1.ResourceName
	}{
		{"--velero-pod-cpu-request", fl.cpuRequest, o.Resources.Requests, corev1.ResourceCPU},
		{"--velero-pod-mem-request", fl.memRequest, o.Resources.Requests, corev1.ResourceMemory},
		{"--velero-pod-cpu-limit", fl.cpuLimit, o.Resources.Limits, corev1.ResourceCPU},
		{"--velero-pod-mem-limit", fl.memLimit, o.Resources.Limits, corev1.ResourceMemory},
	} {
		quantity, err := resource.ParseQuantity(q.value)
		if err != nil || quantity.Sign() < 0 {
			return fmt.Errorf("%s %q is no quantity; hint: write 500m, 128Mi, or 0 for none", q.flag, q.value)
		}
		if !quantity.IsZero() {
			q.list[q.name] = quantity
		}
	}
	return fl.checkLimits(o.Resources)
}

func (fl *installFlags) checkLimits(r corev1.ResourceRequirements) error {
	for name, short := range map[corev1.ResourceName]string{corev1.ResourceCPU: "cpu", corev1.ResourceMemory: "mem"} {
		request, limit := r.Requests[name], r.Limits[name]
		if !limit.IsZero() && request.Cmp(limit) > 0 {
			return fmt.Errorf("--velero-pod-%s-request %s is above --velero-pod-%[1]s-limit %[3]s; hint: raise the limit, or set it to 0 for none",
				short, request.String(), limit.String())
		}
	}
	return nil
}

func (fl *installFlags) readMetadata(o *install.Options) error {
	o.PodLabels, o.PodAnnotations = fl.podLabels.Data(), fl.podAnnotations.Data()
	o.ServiceAccountAnnotations = fl.serviceAccountAnnotations.Data()
	for _, m := range []struct {
		flag     string
		value    *flag.Map
		validate func(map[string]string, *field.Path) field.ErrorList
	}{
		{"--pod-labels", &fl.podLabels, metavalidation.ValidateLabels},
		{"--pod-annotations", &fl.podAnnotations, apivalidation.ValidateAnnotations},
		{"--sa-annotations", &fl.serviceAccountAnnotations, apivalidation.ValidateAnnotations},
	} {
		if problems := m.validate(m.value.Data(), nil); len(problems) > 0 {
			return fmt.Errorf("%s %s: %s", m.flag, m.value, problems[0].Detail)
		}
	}
	return nil
}
