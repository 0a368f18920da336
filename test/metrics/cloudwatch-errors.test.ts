import assert from "node:assert/strict";
import { test } from "node:test";
import { toConnectorError } from "../../src/metrics/cloudwatch-errors.ts";

function sdkError(name: string, status: number): Error {
  return Object.assign(new Error("the service's words"), { name, $metadata: { httpStatusCode: status } });
}

test("cloudwatch errors: a missing permission names the action and the way out; throttles and outages pass", () => {
  const denied = toConnectorError(sdkError("AccessDenied", 403), "app");
  assert.deepEqual([denied.code, denied.retryable], ["ACCESS_DENIED", false]);
  assert.match(denied.message, /permission cloudwatch:PutMetricData; .* metrics\.cloudwatch = "none"/);
  const throttled = toConnectorError(sdkError("ThrottlingException", 400), "app");
  assert.deepEqual([throttled.code, throttled.retryable], ["THROTTLED", true]);
  const outage = toConnectorError(sdkError("InternalServiceFault", 500), "app");
  assert.deepEqual([outage.code, outage.retryable], ["AWS_UNAVAILABLE", true]);
  const refused = toConnectorError(sdkError("InvalidParameterValue", 400), "app");
  assert.deepEqual([refused.code, refused.retryable], ["AWS_REFUSED", false]);
});

test("cloudwatch errors: what is wrong with credentials is told without the service's words", () => {
  const error = toConnectorError(sdkError("InvalidClientTokenId", 403), "app");
  assert.equal(error.code, "CREDENTIALS_INVALID");
  assert.ok(!error.message.includes("the service's words"));
  assert.equal(error.cause, undefined);
});
