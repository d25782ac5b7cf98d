output "store_url" {
  description = "store.url of the settings."
  value       = "s3://${var.bucket}/${var.prefix}"
}

output "table" {
  description = "coordination.table of the settings."
  value       = aws_dynamodb_table.leases.name
}

output "roles" {
  description = "ARNs of the roles of the workers (fleet) and of the loader, for serviceAccount.annotations."
  value       = { for mode, role in aws_iam_role.this : mode => role.arn }
}
