-- Chat Completions calls for wrk, about 9 kB each: instructions, a quiz, the
-- targets line with a different seed in every call, and a strict schema.
-- STREAM=1 in the environment requests server-sent events.

local number = '{"type":"number"}'
local text = '{"type":"string"}'
local texts = '{"type":"array","items":' .. text .. '}'

local function object(fields)
  local names, properties = {}, {}
  for _, field in ipairs(fields) do
    table.insert(names, '"' .. field[1] .. '"')
    table.insert(properties, '"' .. field[1] .. '":' .. field[2])
  end
  return '{"type":"object","additionalProperties":false,"required":[' .. table.concat(names, ",") ..
    '],"properties":{' .. table.concat(properties, ",") .. "}}"
end

local function list(items)
  return '{"type":"array","items":' .. items .. "}"
end

local food = object{{"name", text}, {"portion", text}, {"grams", number}, {"calories", number},
  {"protein", number}, {"carbs", number}, {"fats", number}, {"fiber", number}}
local meal = object{{"meal_type", text}, {"meal_name", text}, {"prep_time_minutes", '{"type":"integer"}'},
  {"difficulty", text}, {"meal_timing", text}, {"tags", texts}, {"foods", list(food)}, {"recipe", text},
  {"tips", texts}, {"total_calories", number}, {"total_protein", number}, {"total_carbs", number},
  {"total_fats", number}, {"total_fiber", number}}
local schema = object{{"meals", list(meal)},
  {"hydration_plan", object{{"daily_water_intake", text}, {"timing", texts}, {"electrolyte_needs", text}}},
  {"shopping_list", object{{"proteins", texts}, {"vegetables", texts}, {"carbs", texts}, {"fats", texts},
    {"pantry_staples", texts}, {"estimated_cost", text}}},
  {"personalized_tips", texts},
  {"meal_prep_strategy", object{{"batch_cooking", texts}, {"storage_tips", texts}, {"time_saving_hacks", texts}}},
  {"daily_totals", object{{"calories", number}, {"protein", number}, {"carbs", number}, {"fats", number},
    {"fiber", number}, {"variance", text}}}}

local instructions = string.rep("Write a plan that a busy person can follow for a week. ", 90)
local stream = os.getenv("STREAM") and ',"stream":true,"stream_options":{"include_usage":true}' or ""
local head = '{"model":"gpt-6-luna","reasoning_effort":"low","max_completion_tokens":16000,"store":false' .. stream ..
  ',"response_format":{"type":"json_schema","json_schema":{"name":"meal_plan","strict":true,"schema":' .. schema ..
  '}},"messages":[{"role":"developer","content":"' .. instructions .. '"},{"role":"user","content":"'
local targets = 'REGIMEN-TARGETS: {\\"kind\\":\\"meal\\",\\"calories\\":2100,\\"protein_g\\":140,' ..
  '\\"carbs_g\\":240,\\"fats_g\\":62,\\"meals\\":3,\\"diet\\":\\"Vegetarian\\",\\"seed\\":\\"'
local headers = {["Content-Type"] = "application/json", ["Authorization"] = "Bearer sk-bench"}

local threads = 0
function setup(thread)
  threads = threads + 1
  thread:set("own", threads)
end

local calls = 0
function request()
  calls = calls + 1
  local body = head .. targets .. own .. "-" .. calls .. '\\"}"}]}'
  return wrk.format("POST", "/v1/chat/completions", headers, body)
end
