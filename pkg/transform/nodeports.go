package transform

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
)

// portRequests says which node ports somebody asked for.
type portRequests struct {
	node        func(port map[string]any) bool
	healthCheck bool
}

// askedPorts looks into the manifest that was last applied or, when there is
// none that can be read, into the record of who set which field. What can't be
// read is an error and counts as nothing.
func askedPorts(obj *Object) (portRequests, error) {
	managed, managedErr := managedPorts(obj)
	manifest := obj.Annotation(corev1.LastAppliedConfigAnnotation)
	if manifest == "" {
		return managed, managedErr
	}
	asked, err := appliedPorts(manifest)
	if err != nil {
		err = fmt.Errorf("decode annotation %s: %w", corev1.LastAppliedConfigAnnotation, err)
		return managed, errors.Join(err, managedErr)
	}
	asked.healthCheck = asked.healthCheck || managed.healthCheck
	return asked, managedErr
}

func appliedPorts(manifest string) (portRequests, error) {
	s := scan([]byte(manifest))
	defer s.release()
	value, err := s.any()
	if err != nil {
		return portRequests{}, err
	}
	applied, _ := value.(map[string]any)
	spec := child(applied, "spec")
	byName, byNumber := map[string]bool{}, map[int64]bool{}
	for _, port := range mapsAt(spec, "ports") {
		number := whole(port, "nodePort")
		switch name := text(port, "name"); {
		case number == 0:
		case name != "":
			byName[name] = true
		default:
			byNumber[number] = true
		}
	}
	return portRequests{
		node: func(port map[string]any) bool {
			if name := text(port, "name"); name != "" {
				return byName[name]
			}
			return byNumber[whole(port, "nodePort")]
		},
		healthCheck: whole(spec, "healthCheckNodePort") != 0,
	}, nil
}

// managedPorts reads metadata.managedFields: who sets a node port owns the field.
func managedPorts(obj *Object) (portRequests, error) {
	asked, healthCheck := map[string]bool{}, false
	err := eachManager(obj, func(fields map[string]any) {
		spec := child(fields, "f:spec")
		for key, port := range child(spec, "f:ports") {
			if port, ok := port.(map[string]any); ok && port["f:nodePort"] != nil {
				asked[portKey(key)] = true
			}
		}
		healthCheck = healthCheck || spec["f:healthCheckNodePort"] != nil
	})
	return portRequests{
		node: func(port map[string]any) bool {
			protocol := cmp.Or(text(port, "protocol"), string(corev1.ProtocolTCP))
			return asked[fmt.Sprintf("%d/%s", whole(port, "port"), protocol)]
		},
		healthCheck: healthCheck,
	}, err
}

// eachManager calls each with the fields that a manager owns.
func eachManager(obj *Object, each func(fields map[string]any)) error {
	raw := obj.ManagedFields()
	if raw == nil {
		return nil
	}
	var entries []struct {
		FieldsV1 map[string]any `json:"fieldsV1"`
	}
	if err := json.Unmarshal(raw, &entries); err != nil {
		return fmt.Errorf("decode metadata.managedFields: %w", err)
	}
	for _, entry := range entries {
		each(entry.FieldsV1)
	}
	return nil
}

// portKey turns `k:{"port":80,"protocol":"TCP"}` into "80/TCP".
func portKey(field string) string {
	const prefix = "k:"
	if len(field) < len(prefix) {
		return ""
	}
	var key struct {
		Port     int64
		Protocol string
	}
	if json.Unmarshal([]byte(field[len(prefix):]), &key) != nil {
		return ""
	}
	return fmt.Sprintf("%d/%s", key.Port, key.Protocol)
}
