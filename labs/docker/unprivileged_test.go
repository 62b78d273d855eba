package docker

import (
	"encoding/json"
	"slices"
	"testing"
)

func TestPrivilegedContainerBecomesOneOfCapabilities(t *testing.T) {
	body, err := reduce([]byte(`{"Image": "frr", "HostConfig": {"Privileged": true, "Memory": 9007199254740993, "CapAdd": ["SYSLOG"],
		"Devices": [{"PathOnHost": "/dev/fuse", "PathInContainer": "/dev/fuse", "CgroupPermissions": "r"}]}}`))
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Image      string
		HostConfig struct {
			Privileged                 bool
			Memory                     int64
			CapAdd, SecurityOpt        []string
			MaskedPaths, ReadonlyPaths *[]string
			Devices                    []struct{ PathOnHost string }
		}
	}
	if err := json.Unmarshal(body, &got); err != nil {
		t.Fatal(err)
	}
	h := got.HostConfig
	if h.Privileged || got.Image != "frr" || h.Memory != 9007199254740993 {
		t.Errorf("want an unprivileged container and all else as it was, got %s", body)
	}
	for _, c := range append([]string{"SYSLOG"}, needed...) {
		if !slices.Contains(h.CapAdd, c) {
			t.Errorf("capability %s: want it, got %v", c, h.CapAdd)
		}
	}
	if h.ReadonlyPaths == nil || len(*h.ReadonlyPaths) > 0 || h.MaskedPaths == nil || len(*h.MaskedPaths) > 0 {
		t.Errorf("want /proc/sys writable as in a privileged container, got %s", body)
	}
	if n := len(h.Devices); n != 2 || h.Devices[1].PathOnHost != "/dev/net/tun" {
		t.Errorf("devices: want what there was and /dev/net/tun, got %v", h.Devices)
	}
}

func TestOtherContainersStayAsTheyAre(t *testing.T) {
	for _, body := range []string{`{"Image":"x"}`, `{"HostConfig":{"Privileged":false}}`, `{"HostConfig":null}`} {
		got, err := reduce([]byte(body))
		if err != nil || string(got) != body {
			t.Errorf("%s: got %s, %v", body, got, err)
		}
	}
	if _, err := reduce([]byte("{")); err == nil {
		t.Error("a body that is cut off: want an error")
	}
}

func TestFailedExecLinesAreFound(t *testing.T) {
	out := "01:02:43 INFO Executed command node=clab-x-a command=\"ip link\"\n" +
		"01:02:44 ERRO Failed to execute command command=\"wg-quick up wg0\" node=clab-x-paris rc=1 stdout=\"\" stderr=no\n"
	if err := failedCommands(out); err == nil {
		t.Error("want the failed command told")
	}
	if err := failedCommands(out[:70]); err != nil {
		t.Errorf("no command failed: want nothing, got %v", err)
	}
}
