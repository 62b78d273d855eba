package hatest

// Shrink returns the scenario with as few of its faults as still break the same
// invariant: it leaves out halves, quarters and so on down to single faults, until
// none can be missed (delta debugging; Zeller, Hildebrandt 2002). runs bounds how
// often it tries.
func Shrink(s *Scenario, broken Invariant, runs int) *Scenario {
	fails := func(faults []Fault) bool {
		runs--
		t := *s
		t.Faults = faults
		v := Run(&t).Violation
		return v != nil && v.Invariant == broken
	}
	faults := s.Faults
	for n := 2; len(faults) > 0 && runs > 0; {
		size := (len(faults) + n - 1) / n
		shrunk := false
		for at := 0; at < len(faults) && runs > 0; at += size {
			rest := append(append([]Fault(nil), faults[:at]...), faults[min(at+size, len(faults)):]...)
			if fails(rest) {
				faults, shrunk = rest, true
				n = max(n-1, 2)
				break
			}
		}
		if shrunk {
			continue
		}
		if size == 1 {
			break
		}
		n = min(2*n, len(faults))
	}
	t := *s
	t.Faults = faults
	return &t
}
