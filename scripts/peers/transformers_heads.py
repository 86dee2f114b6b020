#!/usr/bin/env python3
"""usage: transformers_heads.py KIND FOLDER INPUT PREDICTIONS: a head's predictions by transformers against those of `lockstep predict`.

KIND is `classes` (AutoModelForSequenceClassification: probabilities of one label or of each, or a value, INPUT a text a line or two with a tab between),
`tokens` (BertForTokenClassification: tags of `{"text", "tags"}` lines, INPUT one token a line), `span`
(BertForQuestionAnswering: the best answer and its score, INPUT in SQuAD's form, contexts that fit one window) or `masked` (BertForMaskedLM: the likeliest words
at [MASK], INPUT a text a line).
"""
import json
import sys

import torch
import transformers

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
kind, folder, source, predictions = sys.argv[1:]
tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
CLASSES = {"classes": transformers.AutoModelForSequenceClassification, "tokens": transformers.BertForTokenClassification, "span": transformers.BertForQuestionAnswering,
           "masked": transformers.BertForMaskedLM}
model, report = CLASSES[kind].from_pretrained(folder, output_loading_info=True)
for what in ("missing_keys", "unexpected_keys") if kind == "classes" else ("missing_keys",):
    if report[what]:
        sys.exit(f"{folder}: transformers has {what.replace('_', ' ')}: {', '.join(sorted(report[what])[:5])}")
if kind == "classes" and model.config.architectures != [type(model).__name__]:
    sys.exit(f"{folder}: config.json names {model.config.architectures}, and transformers made a {type(model).__name__} of it")
model.eval()
rows = [json.loads(line) for line in open(predictions, encoding="utf-8")]


def classes():
    for line, row in zip(open(source, encoding="utf-8").read().splitlines(), rows, strict=True):
        with torch.no_grad():
            logits = model(**tokenizer(*line.split("\t"), return_tensors="pt")).logits[0]
        if model.config.problem_type == "regression":
            yield abs(logits.item() - row["value"]) < 1e-4
            continue
        is_single = model.config.problem_type == "single_label_classification"
        found = dict(zip((model.config.id2label[i] for i in range(len(logits))), (logits.softmax(-1) if is_single else logits.sigmoid()).tolist()))
        says = row["label"] == max(found, key=found.get) if is_single else row["labels"] == [name for name, p in found.items() if p >= 0.5]
        yield says and found.keys() == row["probabilities"].keys() and all(abs(found[name] - p) < 1e-4 for name, p in row["probabilities"].items())


def tokens():
    sentences = [part.split("\n") for part in open(source, encoding="utf-8").read().strip().split("\n\n")]
    for words, row in zip(sentences, rows, strict=True):
        encoded = tokenizer(words, is_split_into_words=True, return_tensors="pt")
        with torch.no_grad():
            labels = model(**encoded).logits[0].argmax(-1).tolist()
        tags, seen = ["O"] * len(words), set()
        for place, word in enumerate(encoded.word_ids()):
            if word is not None and word not in seen:
                seen.add(word)
                tags[word] = model.config.id2label[labels[place]]
        yield tags == row["tags"]


def span():
    questions = [(paragraph["context"], qa["question"]) for article in json.load(open(source, encoding="utf-8"))["data"]
                 for paragraph in article["paragraphs"] for qa in paragraph["qas"]]
    for (context, question), row in zip(questions, rows, strict=True):
        encoded = tokenizer(question, context, return_tensors="pt", return_offsets_mapping=True)
        offsets = encoded.pop("offset_mapping")[0].tolist()
        with torch.no_grad():
            out = model(**encoded)
        start, end = out.start_logits[0], out.end_logits[0]
        places = [i for i, part in enumerate(encoded.sequence_ids(0)) if part == 1]
        score, first, last = max(((start[i] + end[j]).item(), i, j) for i in places for j in places if i <= j < i + 30)
        best = row["best"][0]
        yield context[offsets[first][0]:offsets[last][1]] == row["answer"] and abs(score - best["score"]) < 1e-4


def masked():
    for text, row in zip(open(source, encoding="utf-8").read().splitlines(), rows, strict=True):
        encoded = tokenizer(text, return_tensors="pt")
        with torch.no_grad():
            probabilities = model(**encoded).logits[0].softmax(-1)
        places = (encoded["input_ids"][0] == tokenizer.mask_token_id).nonzero()[:, 0].tolist()
        for place, words in zip(places, row["masks"], strict=True):
            value, word = probabilities[place].max(-1)
            yield tokenizer.convert_ids_to_tokens(word.item()) == words[0]["token"] and abs(value.item() - words[0]["probability"]) < 1e-4


results = list({"classes": classes, "tokens": tokens, "span": span, "masked": masked}[kind]())
if not results or not all(results):
    sys.exit(f"{kind}: {results.count(False)} of {len(results)} predictions differ from transformers {transformers.__version__}")
print(f"{kind}: {len(results)} predictions are those of transformers {transformers.__version__}")
