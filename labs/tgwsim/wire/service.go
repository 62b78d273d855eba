// Package wire speaks AWS's Query protocols from the server's side: requests
// are decoded into the SDK's Input structs and the SDK's Output structs are
// written as XML. It is strict: what the service does not know is an error.
//
// The names on the wire come from tables that command gen reads out of the
// pinned SDK's own source (ec2_names.go, by `go generate`). Start reading at
// Service; decode.go and encode.go are its two directions.
package wire

import (
	"encoding/xml"
	"strings"
)

// Service is one AWS service that speaks the EC2, the Query or the REST XML
// protocol.
//
// https://smithy.io/2.0/aws/protocols/aws-ec2-query-protocol.html
// https://smithy.io/2.0/aws/protocols/aws-query-protocol.html
// https://smithy.io/2.0/aws/protocols/aws-restxml-protocol.html
type Service struct {
	Name      string // in the credential scope of signatures: "ec2"
	Version   string // the API version that requests must carry
	Namespace string // of the answers' XML
	// EC2 is the dialect: lists are flat, answers have no Result element, and
	// errors are wrapped in Response/Errors. Without it lists have elements
	// called "member".
	EC2 bool
	// REST is the other dialect: requests are documents too (DecodeXML), answers
	// have no Result element, and a list's elements are called as their type.
	REST bool
	// Params, Elements and Required name the parameters of requests, the
	// elements of answers, and what a request must have. A type that is in none
	// has the names of its Go fields; with EC2 every type must be in its table.
	Params, Elements, Required Table
}

// EC2 is the service of the pinned SDK's package ec2.
var EC2 = &Service{
	Name: "ec2", Version: "2016-11-15", Namespace: "http://ec2.amazonaws.com/doc/2016-11-15/", EC2: true,
	Params: ec2Params, Elements: ec2Elements, Required: ec2Required,
}

// Services whose structs have the names of the wire. What a request must have is
// compared with the SDK's own validators by a test.
var (
	ELB = &Service{
		Name: "elasticloadbalancing", Version: "2015-12-01", Namespace: "http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/",
		Required: Table{
			"DescribeTargetHealthInput": parse("TargetGroupArn"), "DescribeTargetGroupAttributesInput": parse("TargetGroupArn"),
			"RegisterTargetsInput": parse("TargetGroupArn Targets"), "DeregisterTargetsInput": parse("TargetGroupArn Targets"), "TargetDescription": parse("Id"),
		},
	}
	STS            = &Service{Name: "sts", Version: "2011-06-15", Namespace: "https://sts.amazonaws.com/doc/2011-06-15/"}
	SecretsManager = &Service{Name: "secretsmanager", Required: Table{"GetSecretValueInput": parse("SecretId")}}
	SSM            = &Service{Name: "ssm", Required: Table{"GetParameterInput": parse("Name")}}
	Route53        = &Service{
		Name: "route53", Namespace: "https://route53.amazonaws.com/doc/2013-04-01/", REST: true,
		Elements: Table{"[]string": {"item": "NameServer"}},
		Required: Table{
			"ChangeResourceRecordSetsInput": parse("HostedZoneId ChangeBatch"), "ListResourceRecordSetsInput": parse("HostedZoneId"),
			"GetHostedZoneInput": parse("Id"), "GetChangeInput": parse("Id"), "ChangeBatch": parse("Changes"), "Change": parse("Action ResourceRecordSet"),
			"ResourceRecordSet": parse("Name Type"), "ResourceRecord": parse("Value"), "AliasTarget": parse("DNSName HostedZoneId"),
		},
	}
)

// Error is an error that the API answers with.
type Error struct {
	Code, Message string
	Status        int // of HTTP, 0: 400
}

func (e *Error) Error() string { return e.Code + ": " + e.Message }

// EncodeError is the body of the answer to a failed request.
func (s *Service) EncodeError(e *Error, requestID string) []byte {
	var b strings.Builder
	b.WriteString(xml.Header)
	text := func(element, value string) {
		b.WriteString("<" + element + ">")
		xml.EscapeText(&b, []byte(value)) // a Builder takes everything
		b.WriteString("</" + element + ">")
	}
	if s.EC2 {
		b.WriteString("<Response><Errors><Error>")
		text("Code", e.Code)
		text("Message", e.Message)
		b.WriteString("</Error></Errors>")
		text("RequestID", requestID)
		b.WriteString("</Response>")
		return []byte(b.String())
	}
	b.WriteString(`<ErrorResponse xmlns="` + s.Namespace + `"><Error><Type>Sender</Type>`)
	text("Code", e.Code)
	text("Message", e.Message)
	b.WriteString("</Error>")
	text("RequestId", requestID)
	b.WriteString("</ErrorResponse>")
	return []byte(b.String())
}
