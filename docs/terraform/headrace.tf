# The resources of one installation, for teams that keep their account in Terraform. It makes what holds data and what
# connects it; Workers and secrets stay with `npx headrace deploy`, which finds these resources in place and leaves them
# alone (it says "as planned"). Names and numbers are those of wrangler.toml and shared/limits.ts; a test keeps them so.
#
#   export CLOUDFLARE_API_TOKEN=...            # permissions: docs/operating.md
#   terraform init && terraform apply -var account_id=... [-var stage=staging]

terraform {
  required_version = ">= 1.5"
  required_providers {
    cloudflare = {
      source  = "cloudflare/cloudflare"
      version = "~> 5.0"
    }
  }
}

variable "account_id" {
  type        = string
  description = "The Cloudflare account."
}

variable "stage" {
  type        = string
  default     = "production"
  description = "As in `headrace deploy --stage`: every name of another stage ends with it."
}

locals {
  suffix            = var.stage == "production" ? "" : "-${var.stage}"
  retention_seconds = 1209600 # 14 days, what Queues keep at most
  late_seconds      = 300     # R2's events find nothing left to do when all is well
  queues            = toset(["ring", "group", "outcomes", "dead"])
}

# Every accepted payload: the log of the pipeline.
resource "cloudflare_r2_bucket" "payloads" {
  account_id = var.account_id
  name       = "headrace-payloads${local.suffix}"

  lifecycle {
    prevent_destroy = true
  }
}

# A backstop behind the reconciler, which deletes after seven days.
resource "cloudflare_r2_bucket_lifecycle" "backstop" {
  account_id  = var.account_id
  bucket_name = cloudflare_r2_bucket.payloads.name
  rules = [{
    id         = "headrace-backstop"
    enabled    = true
    conditions = { prefix = "p/0/" }
    delete_objects_transition = {
      condition = {
        type    = "Age"
        max_age = 7776000 # 90 days
      }
    }
  }]
}

# API keys, as hashes.
resource "cloudflare_workers_kv_namespace" "keys" {
  account_id = var.account_id
  title      = "headrace-keys${local.suffix}"
}

# The queues' consumers, with batch sizes and dead-letter queues, come with the consumer Worker.
resource "cloudflare_queue" "queue" {
  for_each   = local.queues
  account_id = var.account_id
  queue_name = "headrace-${each.key}${local.suffix}"
  settings = {
    delivery_delay           = 0
    message_retention_period = local.retention_seconds
  }
}

# The second ring.
resource "cloudflare_queue" "late" {
  account_id = var.account_id
  queue_name = "headrace-late${local.suffix}"
  settings = {
    delivery_delay           = local.late_seconds
    message_retention_period = local.retention_seconds
  }
}

# R2 tells the second ring of each new payload.
resource "cloudflare_r2_bucket_event_notification" "late" {
  account_id  = var.account_id
  bucket_name = cloudflare_r2_bucket.payloads.name
  queue_id    = cloudflare_queue.late.queue_id
  rules = [{
    prefix  = "p/0/"
    actions = ["PutObject", "CompleteMultipartUpload", "CopyObject"]
  }]
}

output "kv_namespace_id" {
  value = cloudflare_workers_kv_namespace.keys.id
}
