package gcetest

import (
	"fmt"
	"net/http"

	"google.golang.org/api/compute/v1"
)

// refusal is an answer with an error.
type refusal struct {
	status     int
	reason     string
	message    string
	detail     string // reason of an ErrorInfo, or empty
	retryAfter int    // seconds
}

// body has the shape of the API's errors:
// https://cloud.google.com/compute/operations-quota#error
func (r *refusal) body() any {
	type object = map[string]any
	domain := "global"
	if r.reason == "rateLimitExceeded" || r.reason == "quotaExceeded" {
		domain = "usageLimits"
	}
	inner := object{
		"code": r.status, "message": r.message,
		"errors": []object{{"message": r.message, "domain": domain, "reason": r.reason}},
	}
	if r.detail != "" {
		inner["details"] = []object{{
			"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": r.detail, "domain": "compute.googleapis.com",
			"metadatas": object{"containerType": "PROJECT", "containerId": Project},
		}}
	}
	return object{"error": inner}
}

func invalid(format string, args ...any) *refusal {
	return &refusal{status: http.StatusBadRequest, reason: "invalid", message: fmt.Sprintf(format, args...)}
}

func notFound(path string) *refusal {
	return &refusal{status: http.StatusNotFound, reason: "notFound", message: fmt.Sprintf("The resource '%s' was not found", path)}
}

func exists(path string) *refusal {
	return &refusal{status: http.StatusConflict, reason: "alreadyExists", message: fmt.Sprintf("The resource '%s' already exists", path)}
}

func notReady(path string) *refusal {
	return &refusal{status: http.StatusBadRequest, reason: "resourceNotReady", message: fmt.Sprintf("The resource '%s' is not ready", path)}
}

func inUse(path, by string) *refusal {
	return &refusal{
		status: http.StatusBadRequest, reason: "resourceInUseByAnotherResource",
		message: fmt.Sprintf("The snapshot resource '%s' is already being used by '%s'", path, by),
	}
}

// operationError is what an operation that failed has.
func operationError(code, message string) *compute.OperationError {
	if message == "" {
		message = code
	}
	return &compute.OperationError{Errors: []*compute.OperationErrorErrors{{Code: code, Message: message}}}
}
