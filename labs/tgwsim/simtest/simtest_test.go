package simtest_test

import (
	"context"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/wgbgp/wgbgp/labs/tgwsim"
	"github.com/wgbgp/wgbgp/labs/tgwsim/simtest"
	"github.com/wgbgp/wgbgp/labs/tgwsim/world"
)

func TestTheSDKsOwnChainLeadsToTheEmulator(t *testing.T) {
	w, names := world.Example("eu-central-1", time.Now, world.ExampleOptions{})
	sim := simtest.Start(t, w, tgwsim.Options{})
	sim.Setenv(t, names.Instances[0])
	conf, err := config.LoadDefaultConfig(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	out, err := ec2.NewFromConfig(conf).DescribeTransitGatewayConnectPeers(context.Background(), nil)
	if err != nil || len(out.TransitGatewayConnectPeers) != 2 {
		t.Errorf("peers %+v, %v; want two", out, err)
	}
	id, err := imds.NewFromConfig(conf).GetInstanceIdentityDocument(context.Background(), nil)
	if err != nil || id.InstanceID != names.Instances[0] {
		t.Errorf("identity %+v, %v", id, err)
	}
}
