//go:build !linux

package testenv

import "syscall"

// processAttributes give a server a session of its own if it is to outlive
// this process.
func processAttributes(detached bool) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setsid: detached}
}
