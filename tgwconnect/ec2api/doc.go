// Package ec2api is the only importer of the AWS SDK: it reads and changes what
// the API shows around a Transit Gateway, in the words of tgwconnect.
//
// Endpoints, credentials and region come from the SDK's own chain, so that
// AWS_ENDPOINT_URL_EC2 and the like point the shipped programs at labs/tgwsim.
//
// Methods have the API's names. client.go and retry.go say how often and how long
// a call is tried, error.go what its failure means; tgw.go, connect.go, routes.go,
// vpc.go, interfaces.go, security.go and routeserver.go hold the calls of EC2,
// change*.go those that change something, self.go the instance metadata.
package ec2api
