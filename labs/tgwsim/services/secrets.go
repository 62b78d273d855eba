package services

import (
	"encoding/base64"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/wgbgp/wgbgp/labs/tgwsim"
	"github.com/wgbgp/wgbgp/labs/tgwsim/wire"
	"github.com/wgbgp/wgbgp/labs/tgwsim/world"
)

var (
	secretsManager = jsonService{wire.SecretsManager, "secretsmanager", []jsonOperation{jsonOp("GetSecretValue", getSecretValue)}}
	parameterStore = jsonService{wire.SSM, "AmazonSSM", []jsonOperation{jsonOp("GetParameter", getParameter)}}
)

func refuse(code, message string) error {
	return &wire.Error{Code: code, Message: message, Status: http.StatusBadRequest}
}

// regionOf is the region of an ARN.
func regionOf(arn string) string { return strings.SplitN(arn, ":", 6)[3] }

// mayDecrypt asks for what KMS wants besides.
func mayDecrypt(c *tgwsim.Call, broken bool, brokenCode string) error {
	if broken {
		return refuse(brokenCode, "the KMS key can not be used")
	}
	if err := c.Permit("kms", "Decrypt", false); err != nil {
		return err
	}
	return nil
}

func getSecretValue(c *tgwsim.Call, in *secretsmanager.GetSecretValueInput) (*secretsmanager.GetSecretValueOutput, error) {
	var secret *world.Secret
	for _, s := range world.Values(c.State.Secrets) {
		// By name, by ARN, or by an ARN without AWS's six characters [API].
		if id := *in.SecretId; regionOf(s.ARN) == c.Signed.Region && (id == s.Name || id == s.ARN || id == s.ARN[:len(s.ARN)-len("-AbCdEf")]) {
			secret = s
		}
	}
	switch {
	case secret == nil:
		return nil, refuse("ResourceNotFoundException", "Secrets Manager can't find the specified secret.")
	case secret.Deleted:
		return nil, refuse("InvalidRequestException", "You can't perform this operation on the secret because it was marked for deletion.")
	}
	stage := aws.ToString(in.VersionStage)
	if in.VersionId == nil && stage == "" {
		stage = "AWSCURRENT" // [API]
	}
	i := slices.IndexFunc(secret.Versions, func(v world.SecretVersion) bool {
		return (in.VersionId == nil || *in.VersionId == v.ID) && (stage == "" || slices.Contains(v.Stages, stage))
	})
	if i < 0 {
		return nil, refuse("ResourceNotFoundException", "Secrets Manager can't find the specified secret value for staging label: "+stage)
	}
	if err := mayDecrypt(c, secret.KeyBroken, "DecryptionFailure"); err != nil {
		return nil, err
	}
	v := secret.Versions[i]
	out := &secretsmanager.GetSecretValueOutput{ARN: &secret.ARN, Name: &secret.Name, VersionId: &v.ID, VersionStages: v.Stages, CreatedDate: &v.Created, SecretBinary: v.Binary}
	if v.Binary == nil {
		out.SecretString = &v.Text
	}
	return out, nil
}

func getParameter(c *tgwsim.Call, in *ssm.GetParameterInput) (*ssm.GetParameterOutput, error) {
	name, selector := *in.Name, ""
	if strings.HasPrefix(name, "arn:") {
		f := strings.SplitN(name, ":", 7)
		if len(f) < 6 {
			return nil, refuse("ValidationException", "Invalid parameter ARN.")
		}
		name = strings.Join(f[:6], ":")
		if len(f) == 7 {
			selector = f[6]
		}
	} else {
		name, selector, _ = strings.Cut(name, ":")
		if strings.Contains(name, "/") && !strings.HasPrefix(name, "/") { // [API, PutParameter]
			return nil, refuse("ValidationException", "Parameter name must be a fully qualified name.")
		}
	}
	var p *world.Parameter
	for _, q := range world.Values(c.State.Parameters) {
		if regionOf(q.ARN) == c.Signed.Region && (name == q.Name || name == q.ARN) {
			p = q
		}
	}
	if p == nil {
		return nil, refuse("ParameterNotFound", "")
	}
	at := len(p.Versions) // the newest
	if selector != "" {
		n, err := strconv.Atoi(selector)
		if err == nil && n >= 1 && n <= len(p.Versions) {
			at = n
		} else {
			at = 1 + slices.IndexFunc(p.Versions, func(v world.ParameterVersion) bool { return slices.Contains(v.Labels, selector) })
		}
	}
	if at < 1 {
		return nil, refuse("ParameterVersionNotFound", "Systems Manager could not find version "+selector+" of "+p.Name+". Verify the version and try again.")
	}
	v := p.Versions[at-1]
	out := &types.Parameter{
		ARN: &p.ARN, Name: &p.Name, Type: types.ParameterType(p.Type), DataType: aws.String("text"), Value: &v.Value, Version: int64(at), LastModifiedDate: &v.Modified,
	}
	if selector != "" {
		out.Selector = aws.String(":" + selector)
	}
	switch {
	case p.Type != "SecureString":
	case !aws.ToBool(in.WithDecryption):
		out.Value = aws.String(base64.StdEncoding.EncodeToString([]byte("encrypted")))
	default:
		if err := mayDecrypt(c, p.KeyBroken, "InvalidKeyId"); err != nil {
			return nil, err
		}
	}
	return &ssm.GetParameterOutput{Parameter: out}, nil
}
