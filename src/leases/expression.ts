// An item change in DynamoDB's update language. Names go through placeholders: many plain words are reserved there.

import type { Attribute, ItemChange, LeaseItem } from "./row.ts";

/** The part of an UpdateItem request that says what changes. */
export interface UpdateExpression {
  readonly UpdateExpression: string;
  readonly ConditionExpression: string;
  readonly ExpressionAttributeNames: Record<string, string>;
  readonly ExpressionAttributeValues: Record<string, Attribute>;
}

/** @param values what the condition's own placeholders stand for */
export function toUpdateExpression(
  change: ItemChange,
  condition: string,
  values: LeaseItem,
): UpdateExpression {
  const names: Record<string, string> = {};
  const allValues: Record<string, Attribute> = { ...values };
  const name = (attribute: string) => {
    names[`#${attribute}`] = attribute;
    return `#${attribute}`;
  };
  const sets = Object.entries(change.set).map(([attribute, value]) => {
    allValues[`:${attribute}`] = value;
    return `${name(attribute)} = :${attribute}`;
  });
  const adds = change.increment.map((attribute) => `${name(attribute)} :one`);
  if (adds.length > 0) allValues[":one"] = { N: "1" };
  const removes = change.remove.map(name);
  const clauses = [["SET", sets], ["ADD", adds], ["REMOVE", removes]] as const;
  return {
    UpdateExpression: clauses.filter(([, parts]) => parts.length > 0)
      .map(([verb, parts]) => `${verb} ${parts.join(", ")}`).join(" "),
    ConditionExpression: condition,
    ExpressionAttributeNames: names,
    ExpressionAttributeValues: allValues,
  };
}
