package transform

import "strings"

// secretParameters follows the namespaces of Secrets in the parameters of
// StorageClasses and VolumeSnapshotClasses. The names of such parameters are
// the drivers' own, but all end alike: csi.storage.k8s.io/node-stage-secret-namespace,
// adminSecretNamespace. Templates like ${pvc.namespace} are no namespaces.
func secretParameters(o *Options, value any) any {
	parameters, _ := value.(map[string]any)
	for key, value := range parameters {
		lower := strings.ToLower(key)
		if strings.HasSuffix(lower, "secret-namespace") || strings.HasSuffix(lower, "secretnamespace") {
			parameters[key] = namespaceName(o, value)
		}
	}
	return value
}
