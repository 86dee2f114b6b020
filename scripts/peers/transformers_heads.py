#!/usr/bin/env python3
"""usage: transformers_heads.py KIND FOLDER INPUT PREDICTIONS: a head's predictions by transformers against those of `lockstep predict`.

KIND is `tokens` (BertForTokenClassification: tags of `{"text", "tags"}` lines, INPUT one token a line), `span`
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
CLASSES = {"tokens": transformers.BertForTokenClassification, "span": transformers.BertForQuestionAnswering,
           "masked": transformers.BertForMaskedLM}
model, report = CLASSES[kind].from_pretrained(folder, output_loading_info=True)
if report["missing_keys"]:
    sys.exit(f"{folder}: transformers misses {', '.join(sorted(report['missing_keys'])[:5])}")
model.eval()
rows = [json.loads(line) for line in open(predictions, encoding="utf-8")]


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


results = list({"tokens": tokens, "span": span, "masked": masked}[kind]())
if not results or not all(results):
    sys.exit(f"{kind}: {results.count(False)} of {len(results)} predictions differ from transformers {transformers.__version__}")
print(f"{kind}: {len(results)} predictions are those of transformers {transformers.__version__}")
