package install

import (
	"maps"
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/launch"
)

const (
	credentialsKey    = launch.CredentialsKey
	credentialsVolume = "cloud-credentials"
	// maintenanceSchedule is off the full hour, when everybody else's CronJobs run.
	maintenanceSchedule = "17 * * * *"
	// maintenanceDeadline lets a run that hangs miss no more than one other.
	maintenanceDeadline = time.Hour
)

// podTemplate is where the settings of an installation live: every Job's pod is a
// copy of it.
func podTemplate(o Options) *corev1.PodTemplate {
	labels := map[string]string{}
	maps.Copy(labels, o.PodLabels)
	labels[velerov1.ComponentLabel] = velerov1.ComponentValue
	return &corev1.PodTemplate{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "PodTemplate"},
		ObjectMeta: named(o.Namespace, launch.TemplateName),
		Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: labels, Annotations: o.PodAnnotations},
			Spec: corev1.PodSpec{
				ServiceAccountName: launch.ServiceAccount,
				RestartPolicy:      corev1.RestartPolicyNever,
				EnableServiceLinks: ptr.To(false),
				NodeSelector:       map[string]string{corev1.LabelOSStable: string(corev1.Linux)},
				// The user is left to the image, so that a cluster may assign one.
				SecurityContext: &corev1.PodSecurityContext{
					RunAsNonRoot:   ptr.To(true),
					SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
				},
				Containers: []corev1.Container{executor(o)},
				Volumes:    []corev1.Volume{credentialsSource()},
			},
		},
	}
}

func executor(o Options) corev1.Container {
	return corev1.Container{
		Name:            launch.ContainerName,
		Image:           o.Image,
		ImagePullPolicy: o.ImagePullPolicy,
		Env:             environment(o),
		Resources:       o.Resources,
		SecurityContext: &corev1.SecurityContext{
			AllowPrivilegeEscalation: ptr.To(false),
			Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
			ReadOnlyRootFilesystem:   ptr.To(true),
			RunAsNonRoot:             ptr.To(true),
			SeccompProfile:           &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
		VolumeMounts: []corev1.VolumeMount{{Name: credentialsVolume, MountPath: launch.CredentialsDir, ReadOnly: true}},
	}
}

// featuresVariable is where an executor looks for its feature flags, separated by
// commas.
const featuresVariable = "VELERO_FEATURES"

// environment is what an installation settles of its Jobs' variables; a feature list
// of its own among PodEnv gives way.
func environment(o Options) []corev1.EnvVar {
	env := slices.DeleteFunc(slices.Clone(o.PodEnv), func(v corev1.EnvVar) bool {
		return v.Name == featuresVariable && o.Features != nil
	})
	if o.Features == nil {
		return env
	}
	return append(env, corev1.EnvVar{Name: featuresVariable, Value: strings.Join(o.Features, ",")})
}

// credentialsSource is optional: an installation may do without credentials, and get
// them later.
func credentialsSource() corev1.Volume {
	return corev1.Volume{
		Name: credentialsVolume,
		VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{
			SecretName: CredentialsSecret,
			Items:      []corev1.KeyToPath{{Key: credentialsKey, Path: launch.CredentialsKey}},
			Optional:   ptr.To(true),
		}},
	}
}

// maintenance is the CronJob for the chores that a server would do. Its Jobs record
// nothing that is read later, so few are kept.
func maintenance(o Options, template *corev1.PodTemplate) *batchv1.CronJob {
	cron := launch.CronJob(template, launch.Operation{
		Kind:      velerov1.OperationMaintain,
		Namespace: o.Namespace,
		Name:      launch.MaintenanceName,
		Args:      []string{"maintain"},
		Deadline:  maintenanceDeadline,
	}, maintenanceSchedule, "", false)
	cron.Name = launch.MaintenanceName
	cron.Spec.SuccessfulJobsHistoryLimit = ptr.To[int32](1)
	cron.Spec.FailedJobsHistoryLimit = ptr.To[int32](3)
	return cron
}
