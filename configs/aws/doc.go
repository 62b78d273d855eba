// Package aws holds what an operator installs on the AWS side: IAM policies (IAM.md
// says what each action is for), a Terraform module and the same as a
// CloudFormation template. It has no code but tests, which prove that these files
// parse, agree with each other, and ask for exactly what the product calls.
package aws
