package compare

import (
	"fmt"
	"strconv"
	"strings"
)

// A path is a list of map keys and of list indexes written "#0", "#1"; in a
// pattern "#*" stands for every index.

// parsePath reads a pattern such as spec.ports[*].nodePort or data[ca.crt].
func parsePath(pattern string) []string {
	var path []string
	for pattern != "" {
		if rest, ok := strings.CutPrefix(pattern, "["); ok {
			key, after, _ := strings.Cut(rest, "]")
			if key == "*" {
				key = "#*"
			}
			path, pattern = append(path, key), strings.TrimPrefix(after, ".")
			continue
		}
		end := strings.IndexAny(pattern, ".[")
		if end < 0 {
			return append(path, pattern)
		}
		path, pattern = append(path, pattern[:end]), strings.TrimPrefix(pattern[end:], ".")
	}
	return path
}

// formatPath writes a path as it would stand in exceptions.yaml.
func formatPath(path []string) string {
	var text strings.Builder
	for i, step := range path {
		switch {
		case listIndex(step) >= 0:
			fmt.Fprintf(&text, "[%d]", listIndex(step))
		case strings.Contains(step, "."):
			fmt.Fprintf(&text, "[%s]", step)
		case i == 0:
			text.WriteString(step)
		default:
			text.WriteString("." + step)
		}
	}
	return text.String()
}

// covers says whether the pattern is the path, or lies above it.
func covers(pattern, path []string) bool {
	if len(pattern) > len(path) {
		return false
	}
	for i, step := range pattern {
		if step != path[i] && (step != "#*" || listIndex(path[i]) < 0) {
			return false
		}
	}
	return true
}

func indexStep(index int) string { return "#" + strconv.Itoa(index) }

// listIndex returns the index that a step stands for, or -1.
func listIndex(step string) int {
	text, ok := strings.CutPrefix(step, "#")
	if !ok {
		return -1
	}
	index, err := strconv.Atoi(text)
	if err != nil {
		return -1
	}
	return index
}
