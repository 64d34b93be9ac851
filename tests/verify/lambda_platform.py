"""Deploys the Lambda function into ministack, which runs it through the real Runtime API, and sends it what its event source mappings deliver.

    lambda_platform.py ENDPOINT BOOTSTRAP CONFIGURATION

Prints how often each ID is in the lake, what an invocation by a schedule was answered with, and which messages no invocation took.
"""

import io
import json
import sys
import time
import zipfile
from collections import Counter

import boto3

ENDPOINT, BOOTSTRAP, CONFIGURATION = sys.argv[1:]
BUCKET, FUNCTION, COUNT, ORDERS, OBJECTS, PATIENCE = "exports", "lakeport", 300, 30, 5, 60
KEY = dict(aws_access_key_id="test", aws_secret_access_key="test", region_name="us-east-1")


def client(service):
    return boto3.client(service, endpoint_url=ENDPOINT, **KEY)


s3, sqs, kinesis, functions = client("s3"), client("sqs"), client("kinesis"), client("lambda")


def package():
    """A function's zip file. Its bootstrap starts the binary, which would make a large one."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as package:
        package.writestr("bootstrap", f"#!/bin/sh\nexec {BOOTSTRAP}\n")
        package.writestr("lakeport.toml", CONFIGURATION)
    return content.getvalue()


def ids():
    """How often each ID is in the lake."""
    found = Counter()
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix="lake/"):
        for entry in page.get("Contents", []):
            if "/_lakeport/" in entry["Key"]:
                continue
            body = s3.get_object(Bucket=BUCKET, Key=entry["Key"])["Body"].read()
            found.update(json.loads(line)["id"] for line in body.splitlines())
    return found


def wait_for(count):
    end = time.time() + PATIENCE
    while len(ids()) < count:
        if time.time() > end:
            sys.exit(f"not in the lake after {PATIENCE} s: {count} records; {len(ids())} are")
        time.sleep(0.2)


def put(first, end):
    records = [
        {"Data": json.dumps({"id": f"k{n}", "name": "Reading"}).encode(), "PartitionKey": str(n)} for n in range(first, end)
    ]
    assert kinesis.put_records(StreamName="telemetry", Records=records)["FailedRecordCount"] == 0


def queue(name, **attributes):
    url = sqs.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "1", **attributes})["QueueUrl"]
    return url, sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]


def deliver(queue_arn):
    """Lets the platform deliver the messages of a queue to the function."""
    functions.create_event_source_mapping(
        EventSourceArn=queue_arn, FunctionName=FUNCTION, BatchSize=10, FunctionResponseTypes=["ReportBatchItemFailures"]
    )


s3.create_bucket(Bucket=BUCKET)
kinesis.create_stream(StreamName="telemetry", ShardCount=2)
stream = kinesis.describe_stream(StreamName="telemetry")["StreamDescription"]["StreamARN"]
functions.create_function(
    FunctionName=FUNCTION,
    Runtime="provided.al2023",
    Role="arn:aws:iam::000000000000:role/lakeport",
    Handler="bootstrap",
    Code={"ZipFile": package()},
    Timeout=30,
    MemorySize=512,
)
put(0, COUNT // 3)
functions.create_event_source_mapping(
    EventSourceArn=stream,
    FunctionName=FUNCTION,
    StartingPosition="TRIM_HORIZON",
    BatchSize=40,
    FunctionResponseTypes=["ReportBatchItemFailures"],
)
put(COUNT // 3, COUNT // 2)
wait_for(COUNT // 2)
# The platform ends the instance, and starts another one.
functions.update_function_configuration(FunctionName=FUNCTION, Timeout=40)
put(COUNT // 2, COUNT)
wait_for(COUNT)

orders, orders_arn = queue("orders")
for first in range(0, ORDERS, 10):
    entries = [{"Id": str(n), "MessageBody": json.dumps({"id": f"m{n}", "name": "Order"})} for n in range(first, first + 10)]
    assert not sqs.send_message_batch(QueueUrl=orders, Entries=entries).get("Failed")
deliver(orders_arn)
wait_for(COUNT + ORDERS)

# A bucket tells a queue of its objects. A message that tells of none comes again twice, and is put aside then.
letters, letters_arn = queue("letters")
incoming, incoming_arn = queue(
    "incoming", RedrivePolicy=json.dumps({"deadLetterTargetArn": letters_arn, "maxReceiveCount": 2})
)
s3.create_bucket(Bucket="incoming")
s3.put_bucket_notification_configuration(
    Bucket="incoming",
    NotificationConfiguration={"QueueConfigurations": [{"QueueArn": incoming_arn, "Events": ["s3:ObjectCreated:*"]}]},
)
sqs.send_message(QueueUrl=incoming, MessageBody="of no object")
for n in range(OBJECTS):
    s3.put_object(Bucket="incoming", Key=f"a b/{n}.ndjson", Body=json.dumps({"id": f"o{n}", "name": "Upload"}).encode())
deliver(incoming_arn)
wait_for(COUNT + ORDERS + OBJECTS)
end, put_aside = time.time() + PATIENCE, []
while not put_aside and time.time() < end:
    put_aside = [message["Body"] for message in sqs.receive_message(QueueUrl=letters).get("Messages", [])]
    time.sleep(0.2)

schedule = {
    "version": "0",
    "id": "1",
    "detail-type": "Scheduled Event",
    "source": "aws.events",
    "account": "000000000000",
    "time": "2026-11-21T00:00:00Z",
    "region": "us-east-1",
    "resources": ["arn:aws:events:us-east-1:000000000000:rule/lakeport"],
    "detail": {},
}
invoked = functions.invoke(FunctionName=FUNCTION, Payload=json.dumps(schedule))
answer = {"error": invoked.get("FunctionError"), "answer": json.loads(invoked["Payload"].read())}
print(json.dumps({"ids": ids(), "schedule": answer, "put_aside": put_aside}))
