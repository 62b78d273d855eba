// Package services emulates what a gateway uses besides EC2: Elastic Load
// Balancing, STS, Route 53, Secrets Manager, Systems Manager Parameter Store, and
// a Vault. Start reading at Add; vault.go stands alone, since Vault is not
// AWS's.
package services
