variable "name" {
  description = "Name of the roles and the alarms, as in vortex-NAME-fleet. Default: the stream's name."
  type        = string
  default     = ""
}

variable "stream" {
  description = "Name of the Kinesis stream."
  type        = string
}

variable "create_stream" {
  description = "Create the stream; false: it exists."
  type        = bool
  default     = false
}

variable "shards" {
  description = "Shards of a created stream. 0: on-demand mode."
  type        = number
  default     = 0
}

variable "retention_hours" {
  description = "How long a created stream keeps records: as long as Vortex may be down without a loss."
  type        = number
  default     = 72
}

variable "bucket" {
  description = "Name of the bucket."
  type        = string
}

variable "create_bucket" {
  description = "Create the bucket; false: it exists, and its lifecycle is yours."
  type        = bool
  default     = true
}

variable "versioning" {
  description = "Keep old versions of objects in a created bucket for 30 days, for docs/how-to/restore.md."
  type        = bool
  default     = false
}

variable "prefix" {
  description = "Prefix in the bucket; store.url is s3://BUCKET/PREFIX."
  type        = string
  default     = "vortex"
}

variable "table" {
  description = "Name of the lease table. Default: vortex- and the stream's name, as coordination.table."
  type        = string
  default     = ""
}

variable "kms_key_arn" {
  description = "ARN of the KMS key of the bucket and the stream; the roles may use it. Empty: no key of yours."
  type        = string
  default     = ""
}

variable "data_expires_days" {
  description = "Delete objects of events after this many days. 0: never."
  type        = number
  default     = 0
}

variable "data_archive_days" {
  description = "Move objects of events to Glacier Instant Retrieval after this many days. 0: never."
  type        = number
  default     = 0
}

variable "oidc_provider_arn" {
  description = "OIDC provider of an EKS cluster, for IAM roles for service accounts. Empty: EKS Pod Identity may assume the roles."
  type        = string
  default     = ""
}

variable "namespace" {
  description = "Kubernetes namespace of the service accounts, with oidc_provider_arn."
  type        = string
  default     = "vortex"
}

variable "alarm_topic_arns" {
  description = "SNS topics that alarms are sent to."
  type        = list(string)
  default     = []
}

variable "sleeps" {
  description = "Whether pods sleep (keda.minReplicas 0 in the chart): then no alarm while nobody reads."
  type        = bool
  default     = false
}

variable "tags" {
  description = "Tags of all resources."
  type        = map(string)
  default     = {}
}
