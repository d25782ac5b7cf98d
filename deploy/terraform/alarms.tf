# What AWS sees without Prometheus: nobody reads the stream, or a reader is far behind.
resource "aws_cloudwatch_metric_alarm" "behind" {
  alarm_name          = "vortex-${local.name}-behind"
  alarm_description   = "Records are read over an hour after they arrived, or not at all. See docs/how-to/alerts.md."
  namespace           = "AWS/Kinesis"
  metric_name         = "GetRecords.IteratorAgeMilliseconds"
  dimensions          = { StreamName = var.stream }
  statistic           = "Maximum"
  period              = 300
  evaluation_periods  = 3
  threshold           = 3600000
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = var.sleeps ? "notBreaching" : "breaching"
  alarm_actions       = var.alarm_topic_arns
  ok_actions          = var.alarm_topic_arns
  tags                = var.tags
}

resource "aws_cloudwatch_metric_alarm" "throttled" {
  alarm_name          = "vortex-${local.name}-throttled"
  alarm_description   = "Another consumer reads the same shards: a shard serves five reads a second to all of them."
  namespace           = "AWS/Kinesis"
  metric_name         = "ReadProvisionedThroughputExceeded"
  dimensions          = { StreamName = var.stream }
  statistic           = "Average"
  period              = 300
  evaluation_periods  = 6
  threshold           = 0.2
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_topic_arns
  ok_actions          = var.alarm_topic_arns
  tags                = var.tags
}
