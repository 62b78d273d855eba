package metrics

import "github.com/wgbgp/wgbgp/internal/api"

// discovery is how old the answers of AWS are, and what is made of them. A source that the
// configuration does not ask for has no series.
func discovery(p *page, d *api.Discovery) {
	ok := p.gauge("discovery_ok", "1 while AWS answers the question for this host's tunnels or sessions.")
	age := p.gauge("discovery_answer_age_seconds", "Age of its last answer; none before the first one.")
	used := p.gauge("discovery_peers", "Connect peers or Route Server peers of this host, by whether they are used.")
	for _, s := range d.Sources {
		if !s.Wanted {
			continue
		}
		ok.add(truth(s.Error == "" && !s.Answered.IsZero()), "source", s.Name)
		if !s.Answered.IsZero() {
			age.add(s.Answered.AgeSeconds, "source", s.Name)
		}
		in, out := 0, 0
		for _, f := range s.Found {
			switch {
			case f.Reason == "":
				in++
			case f.Reason != "foreign": // another host's
				out++
			}
		}
		used.add(float64(in), "source", s.Name, "used", "yes")
		used.add(float64(out), "source", s.Name, "used", "no")
	}
}
