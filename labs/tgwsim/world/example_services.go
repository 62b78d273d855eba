package world

import "time"

// services makes a load balancer and a hosted zone.
func (n *Names) services(s *State, now time.Time) {
	n.TargetGroup = s.ELBARN("targetgroup", "wireguard", "73e2d6bc24d8a067")
	s.TargetGroups[n.TargetGroup] = &TargetGroup{
		ARN: n.TargetGroup, Name: "wireguard", VPCID: n.VPC, Type: "instance", Protocol: "UDP", Port: 51820,
		Check: TargetCheck{Protocol: "HTTP", Port: "8080", Path: "/healthz", Matcher: "200-399", Interval: 5, Timeout: 2, Healthy: 2, Unhealthy: 2},
		Tags:  Tags{"Name": "wireguard"},
	}
	n.LoadBalancer = s.ELBARN("loadbalancer/net", "wireguard", "50dc6c495c0c9188")
	s.LoadBalancers[n.LoadBalancer] = &LoadBalancer{
		ARN: n.LoadBalancer, Name: "wireguard", VPCID: n.VPC, Scheme: "internet-facing", DNSName: "wireguard-50dc6c495c0c9188.elb." + s.Region + ".amazonaws.com",
		Lifecycle: Lifecycle{State: "active", Created: now}, SubnetIDs: n.Subnets[:],
		Listeners: []Listener{{ARN: s.ELBARN("listener/net", "wireguard", "50dc6c495c0c9188/f2f7dc8efc522ab2"), Protocol: "UDP", Port: 51820, TargetGroupARN: n.TargetGroup}},
		Tags:      Tags{"Name": "wireguard"},
	}
	n.Zone = "Z0123456789ABCDEFGHIJ"
	s.HostedZones[n.Zone] = NewZone(n.Zone, "example.net")
}
