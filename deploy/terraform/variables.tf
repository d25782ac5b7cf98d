variable "name" {
  description = "Name of the roles and the alarms, as in vortex-NAME-fleet. Default: the stream's name."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^[A-Za-z0-9+=,.@_-]{0,50}$", var.name)) && (var.name != "" || length(var.stream) <= 50)
    error_message = "name, or the stream's name where name is empty, may have 50 characters: a role's name has 64 at most, and is vortex-NAME-loader. Letters, digits and +=,.@_- only."
  }
}

variable "stream" {
  description = "Name of the Kinesis stream."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9_.-]{1,128}$", var.stream))
    error_message = "stream is the stream's name, not its ARN: letters, digits and _.- only, 128 at most."
  }
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

  validation {
    condition     = var.shards >= 0 && floor(var.shards) == var.shards
    error_message = "shards is a whole number; 0 is on-demand mode."
  }
}

variable "retention_hours" {
  description = "How long a created stream keeps records: as long as Vortex may be down without a loss."
  type        = number
  default     = 72

  validation {
    condition     = var.retention_hours >= 24 && var.retention_hours <= 8760 && floor(var.retention_hours) == var.retention_hours
    error_message = "retention_hours is from 24 (a day) to 8760 (a year)."
  }
}

variable "bucket" {
  description = "Name of the bucket."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", var.bucket))
    error_message = "bucket is the bucket's name, not its ARN or URL: 3 to 63 lower-case letters, digits, hyphens and dots."
  }
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
  description = "Prefix in the bucket; store.url is s3://BUCKET/PREFIX. Slashes around it do not count. Empty: the whole bucket."
  type        = string
  default     = "vortex"

  validation {
    condition     = can(regex("^[A-Za-z0-9!_.'()=,@+ /-]*$", var.prefix)) && !can(regex("[^/]//+[^/]", var.prefix))
    error_message = "prefix holds letters, digits, !_.'()=,@+-, spaces, and single slashes: others have a meaning in a policy or in a URL."
  }

  validation {
    condition     = length(var.prefix) <= 500
    error_message = "prefix has 500 characters at most, as store.url."
  }

  validation {
    condition     = alltrue([for part in split("/", var.prefix) : !contains([".", ".."], part)])
    error_message = "prefix has no parts . or ..: S3 takes them by the letter, and many programs do not."
  }
}

variable "table" {
  description = "Name of the lease table. Default: vortex- and the stream's name, as coordination.table."
  type        = string
  default     = ""

  validation {
    condition     = var.table == "" || can(regex("^[A-Za-z0-9_.-]{3,255}$", var.table))
    error_message = "table is the table's name: 3 to 255 letters, digits and _.- only."
  }
}

variable "create_table" {
  description = "Create the lease table; false: it exists, Vortex creates it at its first start, or there is none (coordination.mode local)."
  type        = bool
  default     = true
}

variable "kms_key_arn" {
  description = "ARN of the KMS key of the bucket and the stream; the roles may use it. Empty: no key of yours."
  type        = string
  default     = ""

  validation {
    condition     = var.kms_key_arn == "" || can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$", var.kms_key_arn))
    error_message = "kms_key_arn is the ARN of a key, as in arn:aws:kms:REGION:ACCOUNT:key/ID. A policy that names an alias allows nothing."
  }
}

variable "data_expires_days" {
  description = "Delete objects of events after this many days. 0: never."
  type        = number
  default     = 0

  validation {
    condition     = floor(var.data_expires_days) == var.data_expires_days && var.data_expires_days >= 0
    error_message = "data_expires_days is a whole number of days; 0 is never."
  }
}

variable "data_archive_days" {
  description = "Move objects of events to Glacier Instant Retrieval after this many days. 0: never."
  type        = number
  default     = 0

  validation {
    condition     = floor(var.data_archive_days) == var.data_archive_days && var.data_archive_days >= 0
    error_message = "data_archive_days is a whole number of days; 0 is never."
  }

  validation {
    condition     = var.data_archive_days == 0 || var.data_expires_days == 0 || var.data_archive_days < var.data_expires_days
    error_message = "data_archive_days must be less than data_expires_days: S3 refuses to archive what is deleted on that day or before."
  }
}

variable "rejected_expires_days" {
  description = "Delete rejections after this many days. 0: never. Default: as data_expires_days, for they hold what customers sent."
  type        = number
  default     = null

  validation {
    condition     = var.rejected_expires_days == null ? true : floor(var.rejected_expires_days) == var.rejected_expires_days && var.rejected_expires_days >= 0
    error_message = "rejected_expires_days is a whole number of days; 0 is never."
  }
}

variable "event_folders" {
  description = "What keys of events begin with, below the prefix: layout.path up to its first placeholder. The lifecycle and the loader's role go by it."
  type        = list(string)
  default     = ["customer="]

  validation {
    condition     = length(var.event_folders) > 0 && alltrue([for one in var.event_folders : can(regex("^[A-Za-z0-9!_.'()=,@+ /-]+$", one))])
    error_message = "event_folders is what layout.path begins with, as in [\"customer=\"]. A layout that begins with a placeholder needs its values, as in [\"20\"] for {date}."
  }

  validation {
    condition     = alltrue(flatten([for one in var.event_folders : [for own in ["_vortex/", "_hours/", "_manifests/", "_bundles/"] : !startswith(own, one) && !startswith(one, own)]]))
    error_message = "event_folders would expire _vortex/, _hours/ or _manifests/, which Vortex needs; _bundles/ is there by itself."
  }

  validation {
    condition     = alltrue([for one in var.event_folders : !startswith(one, "/")])
    error_message = "event_folders do not begin with a slash: they are below the prefix."
  }

  validation {
    condition = alltrue([
      for at, one in concat(var.event_folders, [var.rejected_folder]) : alltrue([
        for other in slice(concat(var.event_folders, [var.rejected_folder]), 0, at) : !startswith(one, other) && !startswith(other, one)
      ])
    ])
    error_message = "event_folders and rejected_folder must not lie in each other: S3 would go by the shorter time."
  }
}

variable "rejected_folder" {
  description = "What keys of rejections begin with, below the prefix: layout.rejected up to its first placeholder."
  type        = string
  default     = "_rejected/"

  validation {
    condition     = can(regex("^[A-Za-z0-9!_.'()=,@+ -][A-Za-z0-9!_.'()=,@+ /-]*$", var.rejected_folder)) && alltrue([for own in ["_vortex/", "_hours/", "_manifests/", "_bundles/"] : !startswith(own, var.rejected_folder) && !startswith(var.rejected_folder, own)])
    error_message = "rejected_folder is what layout.rejected begins with, and not _vortex/, _hours/, _manifests/ or _bundles/."
  }
}

variable "access_point_arns" {
  description = "ARNs of access points of the bucket that store.url names instead of it; the roles may use them, too."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for one in var.access_point_arns : can(regex("^arn:[a-z-]+:s3:[a-z0-9-]*:[0-9]{12}:accesspoint/[A-Za-z0-9.-]+$", one))])
    error_message = "access_point_arns are ARNs, as in arn:aws:s3:REGION:ACCOUNT:accesspoint/NAME; not aliases."
  }
}

variable "oidc_provider_arn" {
  description = "OIDC provider of an EKS cluster, for IAM roles for service accounts. Empty: EKS Pod Identity may assume the roles."
  type        = string
  default     = ""

  validation {
    condition     = var.oidc_provider_arn == "" || can(regex("^arn:[a-z-]+:iam::[0-9]{12}:oidc-provider/.+$", var.oidc_provider_arn))
    error_message = "oidc_provider_arn is the ARN of an IAM OIDC provider, as in arn:aws:iam::ACCOUNT:oidc-provider/ISSUER; not the issuer's URL."
  }
}

variable "namespace" {
  description = "Kubernetes namespace of the service accounts, with oidc_provider_arn."
  type        = string
  default     = "vortex"

  validation {
    condition     = can(regex("^[a-z0-9*?]([a-z0-9*?-]{0,61}[a-z0-9*?])?$", var.namespace))
    error_message = "namespace is the name of a Kubernetes namespace."
  }
}

variable "service_accounts" {
  description = "Service accounts of the workers, with oidc_provider_arn. The chart's is the release's name, or RELEASE-vortex where that has no vortex in it. * and ? may stand for other characters."
  type        = list(string)
  default     = ["vortex"]

  validation {
    condition     = length(var.service_accounts) > 0 && alltrue([for one in var.service_accounts : can(regex("^[a-z0-9*?]([a-z0-9.*?-]*[a-z0-9*?])?$", one))])
    error_message = "service_accounts are names of Kubernetes service accounts, at least one."
  }
}

variable "loader_service_accounts" {
  description = "Service accounts of the loader, as service_accounts."
  type        = list(string)
  default     = ["vortex-loader"]

  validation {
    condition     = length(var.loader_service_accounts) > 0 && alltrue([for one in var.loader_service_accounts : can(regex("^[a-z0-9*?]([a-z0-9.*?-]*[a-z0-9*?])?$", one))])
    error_message = "loader_service_accounts are names of Kubernetes service accounts, at least one."
  }
}

variable "alarm_topic_arns" {
  description = "SNS topics that alarms are sent to."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for one in var.alarm_topic_arns : can(regex("^arn:[a-z-]+:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_.-]+$", one))])
    error_message = "alarm_topic_arns are ARNs of SNS topics."
  }
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
