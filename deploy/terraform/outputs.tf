output "store_url" {
  description = "store.url of the settings, by the name of the bucket."
  value       = local.prefix == "" ? "s3://${var.bucket}" : "s3://${var.bucket}/${local.prefix}"
}

output "table" {
  description = "coordination.table of the settings."
  value       = local.table
}

output "roles" {
  description = "ARNs of the roles of the workers (fleet) and of the loader, for serviceAccount.annotations."
  value       = { for mode, role in aws_iam_role.this : mode => role.arn }
}
