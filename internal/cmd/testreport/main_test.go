package main

import (
	"fmt"
	"testing"
)

func TestLongPackagesComeFirstAndMeasuringTestsAlone(t *testing.T) {
	beside, after := schedule([]deferredTests{
		{"m/bgp/bfd", []string{"TestA"}},
		{"m/bgp/fib", []string{"TestA", "TestB", "TestC"}},
		{"m/labs/accept", []string{"TestA", "TestSameKeyA", "TestSameKeyB"}},
		{"m/labs/topologies", []string{"TestA"}},
		{"m/wg/device", []string{"TestA", "TestB", "TestC", "TestD"}},
	})
	if got, want := fmt.Sprint(beside), "[{m/labs/topologies [TestA]} {m/labs/accept [TestA]} {m/wg/device [TestA TestB TestC TestD]} {m/bgp/fib [TestA TestB TestC]}]"; got != want {
		t.Errorf("side by side: got %s, want %s", got, want)
	}
	if got, want := fmt.Sprint(after), "[{m/bgp/bfd [TestA]} {m/labs/accept [TestSameKeyA TestSameKeyB]}]"; got != want {
		t.Errorf("alone: got %s, want %s", got, want)
	}
}
