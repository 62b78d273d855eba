package world

import (
	"fmt"
	"strings"
	"time"
)

// Caller is whom credentials belong to. SecretKey is what STS verifies signatures
// with.
type Caller struct{ ARN, UserID, SecretKey string }

// Secret is a secret of Secrets Manager.
type Secret struct {
	ARN, Name string
	Tags      Tags // Name, for scenarios
	Versions  []SecretVersion
	Deleted   bool // marked for deletion
	KeyBroken bool // its KMS key can not be used
}

// SecretVersion is one version. Exactly one of Text and Binary is set.
type SecretVersion struct {
	ID      string
	Stages  []string // AWSCURRENT, AWSPREVIOUS, AWSPENDING, own ones
	Text    string
	Binary  []byte
	Created time.Time
}

// Parameter is a parameter of Parameter Store; its first version has number 1.
type Parameter struct {
	ARN, Name string
	Type      string // String, StringList, SecureString
	Versions  []ParameterVersion
	KeyBroken bool // its KMS key can not be used
}

// ParameterVersion is one version.
type ParameterVersion struct {
	Value    string
	Labels   []string
	Modified time.Time
}

// PutSecret writes a new version of a secret, which becomes AWSCURRENT, the one
// before AWSPREVIOUS [API, PutSecretValue]. Region is empty for the world's.
func (s *State) PutSecret(region, name string, v SecretVersion) *Secret {
	if region == "" {
		region = s.Region
	}
	// Six characters of AWS's own follow the name [API].
	arn := strings.Join([]string{"arn:aws:secretsmanager", region, s.AccountID, "secret:" + name + "-AbCdEf"}, ":")
	secret := s.Secrets[arn]
	if secret == nil {
		secret = &Secret{ARN: arn, Name: name, Tags: Tags{"Name": name}}
		s.Secrets[arn] = secret
	}
	for i := range secret.Versions {
		old := &secret.Versions[i]
		current := false
		for _, stage := range old.Stages {
			current = current || stage == "AWSCURRENT"
		}
		old.Stages = nil
		if current {
			old.Stages = []string{"AWSPREVIOUS"}
		}
	}
	v.ID, v.Stages = fmt.Sprintf("00000000-0000-4000-9000-%012x", len(secret.Versions)+1), []string{"AWSCURRENT"}
	secret.Versions = append(secret.Versions, v)
	return secret
}

// PutParameter writes a new version of a parameter. Region is empty for the world's.
func (s *State) PutParameter(region, name, kind string, v ParameterVersion) *Parameter {
	if region == "" {
		region = s.Region
	}
	arn := strings.Join([]string{"arn:aws:ssm", region, s.AccountID, "parameter/" + strings.TrimPrefix(name, "/")}, ":")
	p := s.Parameters[arn]
	if p == nil {
		p = &Parameter{ARN: arn, Name: name, Type: kind}
		s.Parameters[arn] = p
	}
	p.Versions = append(p.Versions, v)
	return p
}
