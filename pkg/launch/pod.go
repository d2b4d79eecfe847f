package launch

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
)

// podTemplate copies the installation's template and makes it the pod of op.
func podTemplate(template *corev1.PodTemplate, op Operation) corev1.PodTemplateSpec {
	pod := *template.Template.DeepCopy()
	if pod.Labels == nil {
		pod.Labels = map[string]string{}
	}
	maps.Copy(pod.Labels, op.labels())
	spec := &pod.Spec
	spec.RestartPolicy = corev1.RestartPolicyNever
	spec.TerminationGracePeriodSeconds = ptr.To[int64](gracePeriodSeconds)
	spec.EnableServiceLinks = ptr.To(false)
	spec.ServiceAccountName = accountOf(spec, op)
	spec.DeprecatedServiceAccount = "" // the API server gave the template one
	if op.NoAPIToken {
		spec.AutomountServiceAccountToken = ptr.To(false)
	}
	container := executor(spec)
	container.Args = slices.Clone(op.Args)
	container.Env = override(container.Env, environment(op))
	container.TerminationMessagePolicy = corev1.TerminationMessageFallbackToLogsOnError
	mountSnapshotCredentials(spec, container, op)
	mountLocation(&pod, container, op)
	restrict(spec)
	return pod
}

func accountOf(spec *corev1.PodSpec, op Operation) string {
	switch {
	case op.ServiceAccount != "":
		return op.ServiceAccount
	case spec.ServiceAccountName != "":
		return spec.ServiceAccountName
	}
	return ServiceAccount
}

// executor is the container that gets the operation: the one of that name, else
// the first; a template without containers gets one, which the API server then
// refuses by name.
func executor(spec *corev1.PodSpec) *corev1.Container {
	for i := range spec.Containers {
		if spec.Containers[i].Name == ContainerName {
			return &spec.Containers[i]
		}
	}
	if len(spec.Containers) == 0 {
		spec.Containers = []corev1.Container{{Name: ContainerName}}
	}
	return &spec.Containers[0]
}

// Image is the executor image of an installation; empty when the template has
// no container.
func Image(template *corev1.PodTemplate) string {
	return executor(&template.Template.DeepCopy().Spec).Image
}

// environment tells the executor where it runs. The labels are those that the
// Job controller puts on its pods.
func environment(op Operation) []corev1.EnvVar {
	return append([]corev1.EnvVar{
		fieldEnv("VELERO_NAMESPACE", "metadata.namespace"),
		fieldEnv("POD_NAME", "metadata.name"),
		fieldEnv("JOB_NAME", "metadata.labels['batch.kubernetes.io/job-name']"),
		fieldEnv("JOB_UID", "metadata.labels['batch.kubernetes.io/controller-uid']"),
	}, op.Env...)
}

// IsJobVariable reports whether a variable of an executor says where it runs and with
// what, rather than being a setting of the installation.
func IsJobVariable(name string) bool {
	return name == LocationMountsVariable ||
		slices.ContainsFunc(environment(Operation{}), func(v corev1.EnvVar) bool { return v.Name == name })
}

// override gives the template's variables and ours; ours win.
func override(template, ours []corev1.EnvVar) []corev1.EnvVar {
	kept := slices.DeleteFunc(template, func(t corev1.EnvVar) bool {
		return slices.ContainsFunc(ours, func(o corev1.EnvVar) bool { return o.Name == t.Name })
	})
	return append(kept, ours...)
}

func fieldEnv(name, path string) corev1.EnvVar {
	return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{
		FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: path},
	}}
}

// restrict fills in what the restricted profile of Pod Security asks for and
// the template left open. The user id is left to the image, or to the cluster
// where that assigns one.
func restrict(spec *corev1.PodSpec) {
	if spec.SecurityContext == nil {
		spec.SecurityContext = &corev1.PodSecurityContext{}
	}
	fill(&spec.SecurityContext.RunAsNonRoot, true)
	if spec.SecurityContext.SeccompProfile == nil {
		spec.SecurityContext.SeccompProfile = &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}
	}
	for i := range spec.InitContainers {
		restrictContainer(&spec.InitContainers[i])
	}
	for i := range spec.Containers {
		restrictContainer(&spec.Containers[i])
	}
}

func restrictContainer(c *corev1.Container) {
	if c.SecurityContext == nil {
		c.SecurityContext = &corev1.SecurityContext{}
	}
	fill(&c.SecurityContext.AllowPrivilegeEscalation, false)
	fill(&c.SecurityContext.ReadOnlyRootFilesystem, true)
	if c.SecurityContext.Capabilities == nil {
		c.SecurityContext.Capabilities = &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}
	}
}

func fill(field **bool, value bool) {
	if *field == nil {
		*field = &value
	}
}

func hashOf(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}
